// Names of objects, on both sides. The server's HandleTable maps an id that came over the wire to
// the object behind it, checking type and generation, and back. The client's HandleMinter makes the
// ids and says which of them are alive. Both look up in constant time, grow in pages as needed and
// stop at kHandleIndexMax live objects of a type. See handle_id.h for what an id is made of.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/api.h"
#include "base/spin_futex_lock.h"
#include "base/status.h"
#include "rpc/handle_id.h"

namespace farcall::rpc {

// Server side. Any thread.
class HandleTable {
 public:
  HandleTable();
  ~HandleTable();

  // Gives a new object the id that the client minted. kProtocol: the id is malformed, of another
  // type or in use by a live object; the client is broken or hostile.
  Status bind(HandleId id, HandleType type, void* object);
  // nullptr: unknown, stale or of another type. An object is never null.
  void* find(HandleId id, HandleType type) const;
  // Ends the id; the object it named, or nullptr as for find(). The id of an object that the server
  // itself destroys (a graph's nodes) ends with unbind(id_of(...)).
  void* unbind(HandleId id, HandleType type);

  // The reverse. 0: this object has no id.
  HandleId id_of(HandleType type, const void* object) const;
  // The id of an object the driver gave us: known already, or made here with kServerMinted. 0: too
  // many objects.
  HandleId intern(HandleType type, void* object);

  size_t count(HandleType type) const;
  // All live objects of a type, in no order: for cleaning up.
  std::vector<void*> objects(HandleType type) const;

 private:
  struct Type;

  Type* type_of(HandleType type) const;

  mutable SpinFutexLock lock_;  // guards all of them
  std::unique_ptr<Type[]> types_;
};

// Client side. Any thread; alive() takes no lock.
class FARCALL_API HandleMinter {
 public:
  HandleMinter();
  ~HandleMinter();

  // 0: kHandleIndexMax objects of this type are alive.
  HandleId mint(HandleType type);
  // The index may be minted again, with another generation. An id that isn't alive is left alone.
  void release(HandleId id);
  // Minted here and not released, and of this type. Ids with kServerMinted are the server's to
  // check and pass.
  bool alive(HandleId id, HandleType type) const;
  size_t count(HandleType type) const;

 private:
  struct Type;

  mutable SpinFutexLock lock_;  // guards minting and releasing
  std::unique_ptr<Type[]> types_;
};

}  // namespace farcall::rpc
