#include "client/contexts.h"

#include "client/program.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

using rpc::HandleId;

Contexts& contexts() {
  static Contexts* const instance = new Contexts;  // leaked: see program.h
  return *instance;
}

std::optional<int> Contexts::device(Session& session, HandleId context) const {
  for (size_t i = 0; i < session.devices().size(); ++i) {
    if (context == rpc::primary_context_id(int(i))) return int(i);
  }
  const std::lock_guard lock(mutex_);
  const auto found = created_.find(context);
  if (found == created_.end()) return std::nullopt;
  return found->second.device;
}

void Contexts::add(HandleId context, int device, unsigned flags) {
  const std::lock_guard lock(mutex_);
  created_[context] = {device, flags};
}

unsigned Contexts::flags(Session& session, HandleId context) const {
  for (size_t i = 0; i < session.devices().size(); ++i) {
    if (context == rpc::primary_context_id(int(i))) return primary(int(i)).flags;
  }
  const std::lock_guard lock(mutex_);
  const auto found = created_.find(context);
  return found == created_.end() ? 0 : found->second.flags;
}

void Contexts::set_flags(Session& session, HandleId context, unsigned flags) {
  for (size_t i = 0; i < session.devices().size(); ++i) {
    if (context == rpc::primary_context_id(int(i))) return set_primary_flags(int(i), flags);
  }
  const std::lock_guard lock(mutex_);
  const auto found = created_.find(context);
  if (found != created_.end()) found->second.flags = flags;
}

void Contexts::attach(HandleId context) {
  const std::lock_guard lock(mutex_);
  const auto found = created_.find(context);
  if (found != created_.end()) ++found->second.attached;
}

bool Contexts::detach(HandleId context) {
  const std::lock_guard lock(mutex_);
  const auto found = created_.find(context);
  return found == created_.end() || --found->second.attached == 0;
}

bool Contexts::remove(HandleId context) {
  const std::lock_guard lock(mutex_);
  return created_.erase(context) == 1;
}

Contexts::Primary Contexts::primary(int device) const {
  const std::lock_guard lock(mutex_);
  return primaries_.at(size_t(device));
}

void Contexts::retain_primary(int device) {
  const std::lock_guard lock(mutex_);
  Primary& primary = primaries_.at(size_t(device));
  ++primary.references;
  primary.active = true;
}

bool Contexts::release_primary(int device) {
  const std::lock_guard lock(mutex_);
  Primary& primary = primaries_.at(size_t(device));
  if (primary.references == 0 || --primary.references > 0 || primary.held) return false;
  primary.active = false;
  return true;
}

void Contexts::set_primary_flags(int device, unsigned flags) {
  const std::lock_guard lock(mutex_);
  primaries_.at(size_t(device)).flags = flags;
}

void Contexts::hold_primary(int device) {
  const std::lock_guard lock(mutex_);
  primaries_.at(size_t(device)).held = true;
}

void Contexts::touch_primary(int device) {
  hold_primary(device);
  const std::lock_guard lock(mutex_);
  primaries_.at(size_t(device)).active = true;
}

void Contexts::forget_primary(int device) {
  const std::lock_guard lock(mutex_);
  primaries_.at(size_t(device)).active = false;
  resets_.fetch_add(1, std::memory_order_release);
}

int reset_primary_context(Session& session, int device, bool wait) {
  int result;
  {
    Call call(session, rpc::Opcode::k_farcallPrimaryContextReset);
    call.args<rpc::schema::FarcallPrimaryContextReset>().setDevice(device);
    result = wait ? call.wait().result() : call.post();
  }
  session.forget_sticky_error(rpc::primary_context_id(device));
  contexts().forget_primary(device);
  program().allocations.remove_context(rpc::primary_context_id(device));
  program().managed.forget_context(rpc::primary_context_id(device));
  program().visible.forget_context(rpc::primary_context_id(device));
  return result;
}

}  // namespace farcall::client
