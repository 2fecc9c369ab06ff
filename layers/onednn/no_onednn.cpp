// In place of this folder's other files in a build without oneDNN.
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

// Logs are not set up yet when a library is loaded.
const bool kWarned = [] {
  const char* setting = std::getenv("DNNH_BFLOAT16");
  if (!setting || std::string(setting).empty() || std::string(setting) == "0") {
    return false;
  }
  std::cerr
      << "warning: DNNH_BFLOAT16 has no effect: this build has no oneDNN\n";
  return true;
}();

}  // namespace
