// Fuzz target of sp.toml: parsing may refuse, with a text; what it accepts, shown and parsed again,
// is shown the same.
#include <cstdlib>

#include "cli/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = sp::cli::parse_config(text, "sp.toml");
  if (!config.ok()) {
    if (config.error().message().empty()) std::abort();
    return 0;
  }
  const std::string shown = sp::cli::show_config(*config);
  const auto again = sp::cli::parse_config(shown, "sp.toml");
  if (!again.ok() || sp::cli::show_config(*again) != shown) std::abort();
  return 0;
}
