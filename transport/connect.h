// From a URL to a channel.
#pragma once

#include <chrono>
#include <memory>

#include "transport/channel.h"
#include "transport/url.h"

namespace farcall::transport {

// Tries every address of the host until one accepts. The timeout covers all of them together, but
// not a slow name server, which answers when it answers. kDisconnected when refused or unreachable,
// kTimeout when nobody answered; both logged, with the URL. A unix socket whose server is not there
// yet is "refused": who wants to wait, retries.
Result<std::unique_ptr<Channel>> connect(const Url& url, std::chrono::nanoseconds timeout,
                                         const ChannelOptions& options = {});

}  // namespace farcall::transport
