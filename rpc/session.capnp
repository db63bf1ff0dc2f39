# The first exchange of a session. Hand-written; the calls' own structs are generated (see codegen/) but for those in
# calls.capnp. Compatible changes only: new fields at the end.
@0xd1c1f7a0b5a94e11;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("farcall::rpc::schema");

struct Hello {
  farcallVersion @0 :Text;   # of the client, "0.1.0"
  cudaVersion @1 :UInt32;    # CUDA_VERSION its stubs were generated from, e.g. 13000
  runtimeVersion @2 :UInt32; # major * 1000 of the libcudart the program is linked to, 0: none yet
  opcodeCount @3 :UInt32;    # the client knows opcodes below this
  program @4 :Text;          # for the server's log
  hostName @5 :Text;
  pid @6 :UInt32;
  payloadBytesMax @7 :UInt32;
  token @8 :Data;            # credentials; empty: none
  # The program's own choice of devices, which the worker's driver makes when it starts. Absent: not set.
  visibleDevices @9 :Text;   # CUDA_VISIBLE_DEVICES
  deviceOrder @10 :Text;     # CUDA_DEVICE_ORDER
}

struct HelloReply {
  union {
    refused @0 :Refused;
    accepted @1 :Accepted;
  }
}

struct Refused {
  reason @0 :Text;           # a sentence for a person: what does not fit, both versions, what to do
  protocolVersion @1 :UInt32;
  farcallVersion @2 :Text;
  cudaVersion @3 :UInt32;    # of the server's driver
  status @4 :Int32;          # the CUresult that the client's calls return
}

struct Accepted {
  sessionId @0 :UInt64;
  farcallVersion @1 :Text;
  driverVersion @2 :Int32;   # cuDriverGetVersion there
  runtimeVersion @3 :Int32;  # cudaRuntimeGetVersion there, 0: no libcudart
  opcodeCount @4 :UInt32;    # the server knows opcodes below this
  devices @5 :List(Device);
  ptxOnly @6 :Bool;          # the device runs PTX, not cubins (softgpu)
  device @7 :Text;           # one line about the driver, e.g. "Farcall softgpu 0.1.0"
  runtimeProblem @8 :Text;   # why runtimeVersion is 0, for `farcall doctor`
}

struct Device {
  name @0 :Text;
  uuid @1 :Data;             # 16 bytes
  totalMemory @2 :UInt64;    # bytes
  attributes @3 :List(Attribute);
  pciBusId @4 :Text;         # "0000:01:00.0"
}

struct Attribute {
  id @0 :UInt16;             # CUdevice_attribute
  value @1 :Int32;
}
