#include "layers/files/lmdb_pages.hpp"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace caffe {

namespace {

// The format of LMDB 0.9, as mdb.c lays it out on machines of 64 bits.
const uint32_t kMagic = 0xBEEFC0DE;
const uint32_t kVersion = 1;
const uint64_t kNoPage = ~uint64_t{0};
const size_t kNodeHeader = 8;
const int kMaxDepth = 32;  // of LMDB's cursors

enum PageFlags {
  kBranch = 0x01,
  kLeaf = 0x02,
  kMeta = 0x08,
  kKinds = 0x6f  // all flags that say what a page is
};
enum NodeFlags { kBigData = 0x01, kDatabase = 0x02, kDuplicates = 0x04 };

struct PageHeader {
  uint64_t number;
  uint16_t pad, flags, lower, upper;
};
struct Tree {
  uint32_t page_size;  // of the first tree; the others do not use it
  uint16_t flags, depth;
  uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
struct Meta {
  uint32_t magic, version;
  uint64_t address, map_size;
  Tree free, main;
  uint64_t last_page, transaction;
};
static_assert(sizeof(PageHeader) == 16, "as in the file");
static_assert(sizeof(Meta) == 136, "as in the file");

struct Damage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class File {
 public:
  explicit File(const std::string& path)
      : file_(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    struct stat status;
    if (file_ < 0 || fstat(file_, &status) != 0) {
      const std::string reason = std::strerror(errno);
      Close();
      throw Damage("cannot be read (" + reason + ")");
    }
    if (!S_ISREG(status.st_mode)) {
      Close();
      throw Damage("is not a regular file");
    }
    size_ = status.st_size;
  }
  ~File() { Close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const { return size_; }

  void Read(uint64_t at, void* bytes, size_t size) const {
    const ssize_t read = pread(file_, bytes, size, at);
    if (read < 0) {
      throw Damage(std::string("cannot be read (") + std::strerror(errno)
                   + ")");
    }
    if (read != static_cast<ssize_t>(size)) {
      throw Damage("is truncated: it has " + std::to_string(size_) + " bytes");
    }
  }

 private:
  void Close() {
    if (file_ >= 0) { close(file_); }
  }

  int file_;
  uint64_t size_ = 0;
};

class Walk {
 public:
  explicit Walk(const File& file) : file_(file) { ReadMeta(); }

  void CheckTree() {
    if (meta_.main.root != kNoPage) { CheckPage(meta_.main.root, 1); }
    if (entries_ != meta_.main.entries) {
      throw Damage("is damaged: it has " + std::to_string(entries_)
                   + " records and says " + std::to_string(meta_.main.entries));
    }
  }

 private:
  // The newer one of the two meta pages counts.
  void ReadMeta() {
    Meta metas[2];
    uint64_t at = 0;
    for (Meta& meta : metas) {
      PageHeader header;
      file_.Read(at, &header, sizeof(header));
      file_.Read(at + sizeof(header), &meta, sizeof(meta));
      if (!(header.flags & kMeta) || meta.magic != kMagic
          || meta.version != kVersion) {
        throw Damage("is not an LMDB of version 0.9");
      }
      page_size_ = meta.free.page_size;
      if (page_size_ < 512 || page_size_ > 65536
          || (page_size_ & (page_size_ - 1))) {
        throw Damage("is damaged: it says that pages have "
                     + std::to_string(page_size_) + " bytes");
      }
      at = page_size_;
    }
    meta_ = metas[metas[1].transaction > metas[0].transaction];
    if (metas[1].free.page_size != metas[0].free.page_size) {
      throw Damage(
          "is damaged: its two meta pages have pages of different"
          " sizes");
    }
    if (meta_.main.flags & ~(MDB_REVERSEKEY | MDB_INTEGERKEY)) {
      throw Damage(
          "is not a database like Caffe's: it has several values for"
          " a key");
    }
    // Divided, since a sum could be too large.
    if (file_.size() / page_size_ <= meta_.last_page) {
      throw Damage("is truncated: it has " + std::to_string(file_.size())
                   + " bytes and says that they are "
                   + std::to_string(meta_.last_page + 1) + " pages of "
                   + std::to_string(page_size_));
    }
  }

  void CheckPage(uint64_t number, int depth) {
    if (number < 2 || number > meta_.last_page) {
      throw Damage("is damaged: it refers to page " + std::to_string(number)
                   + " of " + std::to_string(meta_.last_page + 1));
    }
    if (depth > kMaxDepth || ++pages_ > meta_.last_page) {
      throw Damage("is damaged: its pages refer to one another in a circle");
    }
    std::vector<char> page(page_size_);
    file_.Read(number * page_size_, page.data(), page.size());
    PageHeader header;
    std::memcpy(&header, page.data(), sizeof(header));
    const int kind = header.flags & kKinds;
    if (header.number != number || (kind != kBranch && kind != kLeaf)
        || header.lower < sizeof(header) || header.lower > header.upper
        || header.upper > page_size_) {
      throw BadPage(number, "has no valid header");
    }
    const size_t nodes = (header.lower - sizeof(header)) / 2;
    // LMDB asserts two children of a page.
    if (nodes < (kind == kBranch ? 2 : 1)) {
      throw BadPage(number, "has too few nodes");
    }
    for (size_t i = 0; i < nodes; ++i) {
      uint16_t at;
      std::memcpy(&at, &page[sizeof(header) + 2 * i], sizeof(at));
      if (at < header.upper || at + kNodeHeader > page_size_) {
        throw BadPage(number, "has a node outside of it");
      }
      CheckNode(number, page, at, kind, depth);
    }
  }

  void CheckNode(uint64_t number, const std::vector<char>& page, size_t at,
                 int kind, int depth) {
    uint16_t low, high, flags, key_size;
    std::memcpy(&low, &page[at], 2);
    std::memcpy(&high, &page[at + 2], 2);
    std::memcpy(&flags, &page[at + 4], 2);
    std::memcpy(&key_size, &page[at + 6], 2);
    const size_t data_at = at + kNodeHeader + key_size;
    if (data_at > page_size_) {
      throw BadPage(number, "has a key outside of it");
    }
    if (kind == kBranch) {
      CheckPage(low | uint64_t{high} << 16 | uint64_t{flags} << 32, depth + 1);
      return;
    }
    if (flags & kDuplicates) {
      throw BadPage(number, "has several values for a key");
    }
    if (flags & kDatabase) {
      throw BadPage(number, "has a database of a name");
    }
    const uint64_t size = low | uint64_t{high} << 16;
    if (flags & kBigData) {
      CheckOverflow(number, page, data_at, size);
    } else if (size > page_size_ - data_at) {
      throw BadPage(number, "has a value outside of it");
    }
    CheckOrder(number, std::string(&page[at + kNodeHeader], key_size));
    ++entries_;
  }

  // A value in pages of its own, after a header.
  void CheckOverflow(uint64_t number, const std::vector<char>& page,
                     size_t data_at, uint64_t size) {
    uint64_t first;
    if (data_at + sizeof(first) > page_size_) {
      throw BadPage(number, "has a value outside of it");
    }
    std::memcpy(&first, &page[data_at], sizeof(first));
    const uint64_t pages = (sizeof(PageHeader) + size - 1) / page_size_;
    if (first < 2 || first > meta_.last_page
        || pages > meta_.last_page - first) {
      throw BadPage(number, "has a value outside of the file");
    }
    pages_ += pages + 1;  // each page has one use
    if (pages_ > meta_.last_page) {
      throw BadPage(number, "has a value that shares its pages with others");
    }
  }

  void CheckOrder(uint64_t number, const std::string& key) {
    // Keys of other kinds of databases have another order.
    if (entries_ > 0 && meta_.main.flags == 0 && key <= last_key_) {
      throw BadPage(number, "has keys out of order");
    }
    last_key_ = key;
  }

  static Damage BadPage(uint64_t number, const std::string& problem) {
    return Damage("is damaged: page " + std::to_string(number) + " " + problem);
  }

  const File& file_;
  Meta meta_;
  uint32_t page_size_ = 0;
  uint64_t pages_ = 0;
  uint64_t entries_ = 0;
  std::string last_key_;
};

}  // namespace

std::string LmdbDamage(const std::string& folder) {
  try {
    const File file(folder + "/data.mdb");
    Walk(file).CheckTree();
  } catch (const Damage& damage) { return damage.what(); }
  return "";
}

}  // namespace caffe

size_t dnnh_lmdb_damage(const char* folder, char* buffer, size_t size) {
  const std::string damage = caffe::LmdbDamage(folder);
  if (size > 0) {
    const size_t length = std::min(damage.size(), size - 1);
    std::memcpy(buffer, damage.data(), length);
    buffer[length] = '\0';
  }
  return damage.size();
}
