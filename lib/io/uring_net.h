// TCP and unix sockets over a UringReactor. For real_host.cc only.
#pragma once
#include "base/log.h"
#include "io/net.h"
#include "io/uring_reactor.h"

namespace sp::io {

class UringNet final : public Net {
 public:
  UringNet(UringReactor& reactor, Log& log) : reactor_(reactor), log_(log) {}
  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Socket>)> accepted) override;
  std::unique_ptr<Attempt> connect(const Address& address, Duration timeout,
                                   Callback<void(Result<std::unique_ptr<Socket>>)> done) override;

 private:
  UringReactor& reactor_;
  Log& log_;
};

}  // namespace sp::io
