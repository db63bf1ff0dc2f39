// Stands in for the real worker (server/worker.h), so that the generated decoders run without
// threads, staging or a driver: tables of functions that a test fills, a table of handles, and the
// methods of CallContext on them. A program that has this must not link the real ones' objects too.
#pragma once

#include "rpc/answer_writer.h"
#include "rpc/frame.h"
#include "rpc/handle_table.h"
#include "server/call_context.h"
#include "server/driver_table.h"
#include "server/runtime_table.h"

namespace farcall::server {

class Worker {
 public:
  // Runs the call's decoder. Throws kj::Exception, as the decoder does, when the message does not
  // decode.
  void run(const rpc::Frame& frame);

  DriverTable driver;
  RuntimeTable runtime;
  rpc::HandleTable handles;
  rpc::AnswerWriter* answers = nullptr;  // nullptr: nobody is told
  int failures = 0;                      // asynchronous calls that failed, ids bound twice
};

}  // namespace farcall::server
