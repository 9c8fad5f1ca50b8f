// Fuzz target of everything that is parsed from a connection: the first byte picks the parser, the
// rest is its input. Each parser has to refuse or to accept without touching anything it should
// not; what a codec accepts has to come out as the same bytes.
#include "fuzz/parsers.h"
#include "wire/beacon_messages.h"
#include "wire/data_messages.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/member_messages.h"

namespace {

using namespace sp;
using namespace sp::wire;
using test::require;

template <class T>
bool codec(Bytes input) {
  return test::same_again(input, decode<T>(input), [](const T& value) { return encode(value); });
}

bool frame(Bytes input) {
  if (input.size() < sizeof(FrameHeader)) return false;
  const auto header = parse_header(input, load<FrameHeader>(input).sequence, 1);
  if (!header.ok()) return false;
  require(header->body_bytes <= limits::message_body_bytes_max &&
          header->data_bytes <= limits::message_data_bytes_max);
  const Bytes rest = input.subspan(sizeof(FrameHeader));
  if (rest.size() >= header->body_bytes)
    (void)body_matches(*header, rest.first(header->body_bytes));
  return true;
}

class NoRandom final : public io::Random {
  void fill(MutableBytes out) override { std::fill(out.begin(), out.end(), std::byte{7}); }
};

bool handshake(Bytes input) {
  if (input.size() < sizeof(Hello) + sizeof(Digest256)) return false;
  NoRandom random;
  Handshake own(ClusterKey{}, {1, 1, {ServiceKind::server, 1, 1}, 5}, true, random);
  if (!own.take_hello(input.first(sizeof(Hello))).ok()) return false;
  (void)own.take_proof(input.subspan(sizeof(Hello), sizeof(Digest256))).ok();
  (void)service_text(own.peer().service);
  return true;
}

#define X(Name) codec<Name>,
constexpr test::Parser parsers[] = {
    frame, handshake, SP_DATA_MESSAGES(X) SP_MEMBER_MESSAGES(X) SP_BEACON_MESSAGES(X)};
#undef X

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return sp::test::run_one(parsers, data, size);
}
// Of replay.cc.
extern int (*fuzz_unreached)();
int (*fuzz_unreached)() = [] { return sp::test::first_unreached(parsers); };
