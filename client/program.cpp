#include "client/program.h"

namespace farcall::client {

Program& program() {
  static Program* const instance = new Program;
  return *instance;
}

}  // namespace farcall::client
