# Calls whose client body is written by hand. Each struct is the arguments of the opcode of the same name
# (farcallLaunchKernel <-> FarcallLaunchKernel), `...Results` its results. They serve both of CUDA's APIs.
@0xb6a8ce9b1f0e3d27;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("farcall::rpc::schema");

# --- Device images -------------------------------------------------------------------------------------------

enum ImageKind {
  fatbin @0;   # one or more containers, each with its header, back to back
  elf @1;      # cubin
  ptx @2;      # text, no trailing NUL
  unknown @3;  # handed to the driver as it is
}

# Does the server's store hold this image?
struct FarcallImageOffer {
  sha256 @0 :Data;
  bytes @1 :UInt64;
}
struct FarcallImageOfferResults {
  held @0 :Bool;
}

# Payload: the image's bytes at `offset`. The last chunk completes it; the server checks the hash.
struct FarcallImageChunk {
  sha256 @0 :Data;
  bytes @1 :UInt64;   # of the whole image
  offset @2 :UInt64;
}

# Loads a stored image, or the payload when sha256 is empty. Results only if someone waits.
struct FarcallModuleLoad {
  sha256 @0 :Data;
  kind @1 :ImageKind;
  module @2 :UInt64;        # id to bind: a kModule or a kLibrary decides which of the two it becomes
  containers @3 :UInt32;    # fatbin: how many containers; more than one is a -rdc=true program's list
  options @4 :List(JitOption);
  errorLogBytes @5 :UInt32; # room for the logs that JIT options ask for
  infoLogBytes @6 :UInt32;
}
struct JitOption {
  id @0 :Int32;             # CUjit_option
  value @1 :UInt64;
}
struct FarcallModuleLoadResults {
  errorLog @0 :Text;
  infoLog @1 :Text;
  wallTime @2 :Float32;     # milliseconds, if an option asks for it
}

# --- Linking -------------------------------------------------------------------------------------------------
# The driver's link state is the server's; the client names it, reads files, and keeps what comes out.

struct FarcallLinkCreate {
  link @0 :UInt64;          # a kLinkState, to be in use from now on
  options @1 :List(JitOption);
  errorLogBytes @2 :UInt32; # room for the logs of all that is done with it
  infoLogBytes @3 :UInt32;
}
# Adds a stored image, or the payload when sha256 is empty.
struct FarcallLinkAdd {
  link @0 :UInt64;
  type @1 :Int32;           # CUjitInputType
  name @2 :Text;            # in messages
  sha256 @3 :Data;
  options @4 :List(JitOption);  # of this input alone; they name no logs
}
struct LinkLogs {           # all that is in them by now
  errorLog @0 :Text;
  infoLog @1 :Text;
  wallTime @2 :Float32;
}
struct FarcallLinkAddResults {
  logs @0 :LinkLogs;
}
struct FarcallLinkComplete {
  link @0 :UInt64;
}
struct FarcallLinkCompleteResults {
  logs @0 :LinkLogs;
  bytes @1 :UInt64;         # of what was linked
}
# A piece of what was linked.
struct FarcallLinkRead {
  link @0 :UInt64;
  offset @1 :UInt64;
}
struct FarcallLinkReadResults {
  bytes @0 :Data;
}
struct FarcallLinkDestroy {
  link @0 :UInt64;
}

# Binds `function` to the kernel `name` of a kModule (kFunction) or kLibrary (kKernel).
struct FarcallKernelGet {
  module @0 :UInt64;
  name @1 :Text;
  function @2 :UInt64;
}

struct FarcallGlobalGet {
  module @0 :UInt64;        # kModule or kLibrary
  name @1 :Text;
  managed @2 :Bool;
}
struct FarcallGlobalGetResults {
  address @0 :UInt64;
  bytes @1 :UInt64;
}

# --- Launch --------------------------------------------------------------------------------------------------

struct FarcallLaunchKernel {
  function @0 :UInt64;
  stream @1 :UInt64;
  gridX @2 :UInt32;
  gridY @3 :UInt32;
  gridZ @4 :UInt32;
  blockX @5 :UInt32;
  blockY @6 :UInt32;
  blockZ @7 :UInt32;
  sharedBytes @8 :UInt32;
  cooperative @9 :Bool;
  params @10 :Data;                       # packed at the kernel's own offsets
  attributes @11 :List(LaunchAttribute);  # absent for a plain launch
}
struct LaunchAttribute {
  id @0 :Int32;             # CUlaunchAttributeID; only those whose value holds no pointer or handle
  value @1 :Data;           # CUlaunchAttributeValue, 64 bytes
}

# --- Linear memory -------------------------------------------------------------------------------------------

# Payload: the bytes. Stream-ordered; the client has let go of the program's buffer.
struct FarcallMemcpyHtoD {
  destination @0 :UInt64;
  stream @1 :UInt64;
  ordered @2 :Bool;         # the program's call was a synchronous one: whatever later calls put into any stream, and
                            # not only into this one, sees the bytes
}

# The bytes come back as kData frames of this call. Waited for, or, when nobody waits, before the answer to any
# later call that waits for this stream.
struct FarcallMemcpyDtoH {
  source @0 :UInt64;
  bytes @1 :UInt64;
  stream @2 :UInt64;
}

# --- Pitched and three-dimensional copies with a host side ---------------------------------------------------

# Rows of `widthBytes`, `height` of them in each of `depth` slices. The payload (to the device) or the kData
# frames (from it) hold the rows packed, without pitch, starting with the first row named here.
struct FarcallMemcpyRows {
  device @0 :UInt64;        # address of the first row in device memory, 0: `array`
  array @1 :UInt64;         # kArray, with x in bytes, y, z
  xBytes @2 :UInt64;
  y @3 :UInt64;
  z @4 :UInt64;
  pitchBytes @5 :UInt64;    # device memory: distance of rows
  sliceRows @6 :UInt64;     # device memory: rows from slice to slice
  widthBytes @7 :UInt64;
  height @8 :UInt64;
  depth @9 :UInt64;
  toDevice @10 :Bool;
  stream @11 :UInt64;
  ordered @12 :Bool;        # to the device: as in FarcallMemcpyHtoD
}

# Device to device, within one device's address space.
struct FarcallMemcpyDtoD {
  destination @0 :UInt64;
  source @1 :UInt64;
  bytes @2 :UInt64;
  stream @3 :UInt64;
}

# cuMemAlloc, or cuMemAllocPitch when elementBytes is not 0; the client keeps the table of allocations.
struct FarcallMemAlloc {
  widthBytes @0 :UInt64;
  height @1 :UInt64;
  elementBytes @2 :UInt32;
}
struct FarcallMemAllocResults {
  address @0 :UInt64;
  pitchBytes @1 :UInt64;
}

# cuMemFree of an allocation the client has checked; the driver waits for the work that uses it.
struct FarcallMemFree {
  address @0 :UInt64;
}

# cuMemGetAddressRange, for memory that the client did not allocate: of another process, or of a graph.
struct FarcallMemRange {
  address @0 :UInt64;
}
struct FarcallMemRangeResults {
  base @0 :UInt64;
  bytes @1 :UInt64;
}

# --- Contexts ------------------------------------------------------------------------------------------------

# cuCtxCreate; the client keeps each thread's stack of contexts, the worker pops what the driver pushed.
struct FarcallContextCreate {
  context @0 :UInt64;       # id to bind
  device @1 :Int32;
  flags @2 :UInt32;
}
struct FarcallContextDestroy {
  context @0 :UInt64;
}
# cuDevicePrimaryCtxReset: frees everything in the device's primary context.
struct FarcallPrimaryContextReset {
  device @0 :Int32;
}

# --- Unloading -----------------------------------------------------------------------------------------------

struct FarcallModuleUnload {
  module @0 :UInt64;        # kModule or kLibrary; its kernels and functions go with it
  functions @1 :List(UInt64);
}

# --- Two- and three-dimensional copies within the device -------------------------------------------------------

struct CopySide {
  address @0 :UInt64;       # of the first row, 0: `array`
  array @1 :UInt64;         # kArray, with x in bytes, y, z
  xBytes @2 :UInt64;
  y @3 :UInt64;
  z @4 :UInt64;
  pitchBytes @5 :UInt64;
  sliceRows @6 :UInt64;
  context @7 :UInt64;       # of a copy between contexts
}
struct FarcallMemcpyRowsDtoD {
  destination @0 :CopySide;
  source @1 :CopySide;
  widthBytes @2 :UInt64;
  height @3 :UInt64;
  depth @4 :UInt64;
  stream @5 :UInt64;
  peer @6 :Bool;            # cuMemcpy3DPeerAsync: between the sides' contexts
}

# cuStreamSynchronize, for bodies that need it whichever library the program entered through.
struct FarcallStreamSynchronize {
  stream @0 :UInt64;
}

# cuCtxSynchronize of the current context.
struct FarcallContextSynchronize {}

# --- Attributes of functions -----------------------------------------------------------------------------------

# Every CUfunction_attribute the driver knows, in one answer: values[i] is attribute i.
struct FarcallFunctionAttributes {
  function @0 :UInt64;      # kKernel or kFunction
}
struct FarcallFunctionAttributesResults {
  values @0 :List(Int32);
}
struct FarcallFunctionSetAttribute {
  function @0 :UInt64;
  attribute @1 :Int32;
  value @2 :Int32;
}
struct FarcallFunctionSetCacheConfig {
  function @0 :UInt64;
  config @1 :Int32;         # CUfunc_cache
}
# cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
struct FarcallOccupancy {
  function @0 :UInt64;
  blockSize @1 :Int32;
  sharedBytes @2 :UInt64;
  flags @3 :UInt32;
}
struct FarcallOccupancyResults {
  blocks @0 :Int32;
}

# cuOccupancyMaxActiveClusters, or cuOccupancyMaxPotentialClusterSize
struct FarcallOccupancyClusters {
  function @0 :UInt64;
  gridX @1 :UInt32;
  gridY @2 :UInt32;
  gridZ @3 :UInt32;
  blockX @4 :UInt32;
  blockY @5 :UInt32;
  blockZ @6 :UInt32;
  sharedBytes @7 :UInt32;
  attributes @8 :List(LaunchAttribute);
  largest @9 :Bool;         # the largest cluster, rather than how many of them fit
}
struct FarcallOccupancyClustersResults {
  value @0 :Int32;
}

# --- Captures --------------------------------------------------------------------------------------------------------

# cuThreadExchangeStreamCaptureMode of the calling client thread; the client keeps the mode it had before.
struct FarcallThreadCaptureMode {
  mode @0 :Int32;           # CUstreamCaptureMode
}

# --- Copies with host memory inside graphs -----------------------------------------------------------------------
# The client counts out an id for each captured copy and keeps the address of the program's memory; the worker copies
# to and from a buffer of its own (server/captured_copies.h).

# A linear copy with host memory, asynchronous, while some stream captures. If it is this one: captured.
struct FarcallCaptureCopy {
  copy @0 :UInt64;          # not in use yet
  device @1 :UInt64;
  bytes @2 :UInt64;
  toDevice @3 :Bool;
  stream @4 :UInt64;
}
struct FarcallCaptureCopyResults {
  captured @0 :Bool;        # no: copy as usual
  gone @1 :List(UInt64);    # earlier copies that no graph has any more
}

# cuGraphInstantiateWithFlags
struct FarcallGraphInstantiate {
  graph @0 :UInt64;
  exec @1 :UInt64;          # id to bind
  flags @2 :UInt64;
}
struct FarcallGraphInstantiateResults {
  copies @0 :List(UInt64);  # captured copies in the graph
  outcome @1 :Int32;        # of cuGraphInstantiateWithParams, and the node that is to blame
  errorNode @2 :UInt64;
}

# cuGraphExecUpdate_v2
struct FarcallGraphExecUpdate {
  exec @0 :UInt64;
  graph @1 :UInt64;
}
struct FarcallGraphExecUpdateResults {
  result @0 :Int32;         # CUgraphExecUpdateResult
  errorNode @1 :UInt64;
  errorFromNode @2 :UInt64;
  copies @3 :List(UInt64);  # as above, if the call succeeds
}

# cuGraphLaunch
struct FarcallGraphLaunch {
  exec @0 :UInt64;
  stream @1 :UInt64;
}

# Before a launch, for each copy to the device. Payload: what the program's memory holds, from `offset` on.
struct FarcallGraphInput {
  exec @0 :UInt64;
  copy @1 :UInt64;
  offset @2 :UInt64;
}

# After a launch, for each copy to the host. What it has copied comes back as kData frames of this call, as for
# FarcallMemcpyDtoH.
struct FarcallGraphOutput {
  exec @0 :UInt64;
  copy @1 :UInt64;
  stream @2 :UInt64;        # of the launch
  offset @3 :UInt64;        # where in the copy's bytes, packed, and how many of them; 0: all
  bytes @4 :UInt64;
}

# --- Host functions ------------------------------------------------------------------------------------------------
# What a stream calls in the program: an answer frame kHostFunction (rpc/wire.h) says that it is its turn, and the
# stream goes on when the client says that it has returned.

# cuLaunchHostFunc, or cuStreamAddCallback. When nobody waits, a failure also sends kHostFunctionNever.
struct FarcallLaunchHostFunction {
  id @0 :UInt64;            # the client's name for it
  stream @1 :UInt64;
  withStatus @2 :Bool;      # cuStreamAddCallback: called after a failure, too, and told of it
}
struct FarcallHostFunctionReturned {
  occasion @0 :UInt32;      # of the kHostFunction frame
}

# --- Explicit nodes of graphs --------------------------------------------------------------------------------------

# What a node belongs to and which one it is. To add one: `graph`, its dependencies, and in `node` an id to bind. To
# change one: `node`, and `exec` if only in that executable graph.
struct GraphNode {
  graph @0 :UInt64;
  dependencies @1 :List(UInt64);
  exec @2 :UInt64;
  node @3 :UInt64;
}
struct KernelNode {
  function @0 :UInt64;      # kFunction or kKernel; 0 in an answer: a kernel that the client has no handle of
  gridX @1 :UInt32;
  gridY @2 :UInt32;
  gridZ @3 :UInt32;
  blockX @4 :UInt32;
  blockY @5 :UInt32;
  blockZ @6 :UInt32;
  sharedBytes @7 :UInt32;
  params @8 :Data;          # packed at the kernel's own offsets
}

struct FarcallGraphKernelNode {
  at @0 :GraphNode;
  kernel @1 :KernelNode;
}
struct FarcallGraphKernelNodeGet {
  node @0 :UInt64;
}
struct FarcallGraphKernelNodeGetResults {
  kernel @0 :KernelNode;
}

struct FarcallGraphHostNode {
  at @0 :GraphNode;
  function @1 :UInt64;      # as FarcallLaunchHostFunction.id
}
struct FarcallGraphHostNodeGet {
  node @0 :UInt64;
}
struct FarcallGraphHostNodeGetResults {
  function @0 :UInt64;
}

# A piece of what cuGraphDebugDotPrint writes; the client writes the file.
struct FarcallGraphDotPrint {
  graph @0 :UInt64;
  flags @1 :UInt32;         # CUgraphDebugDot_flags
  offset @2 :UInt64;
}
struct FarcallGraphDotPrintResults {
  bytes @0 :UInt64;         # of the whole text
  text @1 :Data;
}

# --- NVML ----------------------------------------------------------------------------------------------------------
# CUDA_ERROR_NOT_SUPPORTED: the server has no libnvidia-ml.so.1.

# All devices that the client may know of; CUDA_VISIBLE_DEVICES hides none from NVML.
struct FarcallNvmlDevices {
}
struct NvmlDevice {
  name @0 :Text;
  uuid @1 :Text;            # "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
  pciBusId @2 :Text;        # "00000000:01:00.0"
  computeCapabilityMajor @3 :Int32;
  computeCapabilityMinor @4 :Int32;
}
struct FarcallNvmlDevicesResults {
  devices @0 :List(NvmlDevice);
}

# Numbers about one of them that CUDA does not tell, read at once.
struct FarcallNvmlRead {
  pciBusId @0 :Text;
  group @1 :UInt8;          # nvml::ReadingGroup
}
struct NvmlValue {
  reading @0 :UInt16;       # nvml::Reading; unknown ones are skipped
  result @1 :Int32;         # nvmlReturn_t
  value @2 :UInt64;
}
struct FarcallNvmlReadResults {
  values @0 :List(NvmlValue);
  serial @1 :Text;          # texts: empty if the device has none
  vbiosVersion @2 :Text;
  partNumber @3 :Text;
  driverVersion @4 :Text;
  nvmlVersion @5 :Text;
}

# A copy in rows. A side that is the program's memory has the id of a captured copy instead of an address or array; its
# rows are packed. Both sides may be.
struct GraphCopy {
  destination @0 :CopySide;
  source @1 :CopySide;
  destinationCopy @2 :UInt64;
  sourceCopy @3 :UInt64;
  widthBytes @4 :UInt64;
  height @5 :UInt64;
  depth @6 :UInt64;
}
struct FarcallGraphCopyNode {
  at @0 :GraphNode;
  copy @1 :GraphCopy;
  context @2 :UInt64;       # 0: the current one
}
struct FarcallGraphCopyNodeResults {
  gone @0 :List(UInt64);    # earlier copies that no graph has any more
  copies @1 :List(UInt64);  # with `exec`: the captured copies in it from now on
}
struct FarcallGraphCopyNodeGet {
  node @0 :UInt64;
}
struct FarcallGraphCopyNodeGetResults {
  copy @0 :GraphCopy;
}

# cuGraphAddMemAllocNode
struct MemoryAccess {
  locationType @0 :Int32;   # CUmemLocationType
  locationId @1 :Int32;
  flags @2 :Int32;          # CUmemAccess_flags
}
struct AllocationNode {
  allocationType @0 :Int32; # CUmemAllocationType, as in CUmemPoolProps
  handleTypes @1 :Int32;
  locationType @2 :Int32;
  locationId @3 :Int32;
  bytesMax @4 :UInt64;
  usage @5 :UInt16;
  access @6 :List(MemoryAccess);
  bytes @7 :UInt64;
  address @8 :UInt64;       # in answers
}
struct FarcallGraphAllocationNode {
  at @0 :GraphNode;
  allocation @1 :AllocationNode;
}
struct FarcallGraphAllocationNodeResults {
  address @0 :UInt64;
}
struct FarcallGraphAllocationNodeGet {
  node @0 :UInt64;
}
struct FarcallGraphAllocationNodeGetResults {
  allocation @0 :AllocationNode;
}

# cuGraphAddBatchMemOpNode
struct MemoryOperations {
  context @0 :UInt64;
  flags @1 :UInt32;
  operations @2 :Data;      # CUstreamBatchMemOpParams, which hold addresses of device memory and numbers
}
struct FarcallGraphMemoryOperationsNode {
  at @0 :GraphNode;
  operations @1 :MemoryOperations;
}
struct FarcallGraphMemoryOperationsNodeGet {
  node @0 :UInt64;
}
struct FarcallGraphMemoryOperationsNodeGetResults {
  operations @0 :MemoryOperations;
}

# A conditional node, for cuGraphAddNode. `handle` is a number that kernels are told.
struct FarcallGraphConditionalNode {
  at @0 :GraphNode;
  handle @1 :UInt64;
  type @2 :Int32;           # CUgraphConditionalNodeType
  size @3 :UInt32;
  context @4 :UInt64;
}
struct FarcallGraphConditionalNodeResults {
  bodies @0 :List(UInt64);
}

# cuUserObjectCreate: when the last reference has gone, the client's function of that name is called as host functions
# are, and nobody waits for it.
struct FarcallUserObjectCreate {
  object @0 :UInt64;        # id to bind
  function @1 :UInt64;      # as FarcallLaunchHostFunction.id
  references @2 :UInt32;
  flags @3 :UInt32;
}

# --- Host memory that kernels can see ------------------------------------------------------------------------------
# Managed and mapped memory has one address in the program and in the worker. The client tracks what the program
# writes and touches (client/visible_memory.h); these calls move the bytes, at once and beside all streams.

# Memory for kernels at an address that the client has free, too.
struct FarcallVisibleMap {
  address @0 :UInt64;       # 0: the server proposes one
  bytes @1 :UInt64;         # whole pages
  onDevice @2 :Bool;        # in the device's memory if there is room; else host memory that kernels reach
}
struct FarcallVisibleMapResults {
  address @0 :UInt64;
}

# Waits for all work of the context; then the memory at `address` is gone. 0: only waits.
struct FarcallVisibleRelease {
  address @0 :UInt64;
}

# What the program has written. Payload: the bytes of all pieces, back to back.
struct FarcallVisibleWrite {
  pieces @0 :List(UInt64);  # address, bytes, address, bytes, ...
}

# What is there now comes back as kData frames of this call.
struct FarcallVisibleRead {
  address @0 :UInt64;
  bytes @1 :UInt64;
}

# --- Memory that clients of one server pass to each other ------------------------------------------------------------

struct FarcallShareExport {
  object @0 :UInt64;        # kMemoryHandle or kMemoryPool
}
struct FarcallShareExportResults {
  name @0 :Data;            # 16 bytes: whoever knows them may import it while this session lasts
}
struct FarcallShareImport {
  name @0 :Data;
  object @1 :UInt64;        # id to bind: kMemoryHandle, kMemoryPool or kExternalMemory
  bytes @2 :UInt64;         # of external memory, and its flags
  flags @3 :UInt32;
}
