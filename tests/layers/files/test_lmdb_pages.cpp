#include <lmdb.h>

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "layers/data/image_lmdb.hpp"
#include "layers/files/lmdb_pages.hpp"
#include "layers/temporary_folder.hpp"

namespace caffe {

namespace {

const size_t kPage = 4096;

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Reads every byte of every record with LMDB itself; returns their number, or
// -1 if LMDB reports an error.
int ReadAll(const std::string& folder) {
  MDB_env* environment;
  MDB_txn* transaction;
  MDB_dbi database;
  MDB_cursor* cursor;
  CHECK_EQ(mdb_env_create(&environment), 0);
  int records = -1;
  if (mdb_env_open(environment, folder.c_str(), MDB_RDONLY | MDB_NOLOCK, 0)
      == 0) {
    CHECK_EQ(mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction), 0);
    CHECK_EQ(mdb_dbi_open(transaction, NULL, 0, &database), 0);
    CHECK_EQ(mdb_cursor_open(transaction, database, &cursor), 0);
    MDB_val key, value;
    volatile char sum = 0;
    int status;
    records = 0;
    while ((status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
      ++records;
      for (const MDB_val& bytes : {key, value}) {
        const char* start = static_cast<const char*>(bytes.mv_data);
        for (size_t i = 0; i < bytes.mv_size; ++i) { sum = sum + start[i]; }
      }
    }
    if (status != MDB_NOTFOUND) { records = -1; }
    mdb_cursor_close(cursor);
    mdb_txn_abort(transaction);
  }
  mdb_env_close(environment);
  return records;
}

std::vector<std::string> Values(int count, size_t size) {
  return std::vector<std::string>(count, std::string(size, 'v'));
}

}  // namespace

TEST(LmdbPagesTest, AcceptsWholeDatabases) {
  const TemporaryFolder folder;
  const std::vector<std::vector<std::string>> contents = {
      {},
      Values(1, 5),
      Values(1, 100000),
      Values(2000, 40),    // several pages, one branch page
      Values(3000, 1500),  // two levels of branch pages
      Values(300, 3000),   // values in pages of their own
  };
  for (size_t i = 0; i < contents.size(); ++i) {
    const std::string path = folder / std::to_string(i);
    WriteLmdb(path, contents[i]);
    EXPECT_EQ(LmdbDamage(path), "") << "content " << i;
  }
}

TEST(LmdbPagesTest, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const std::string path = folder / "db", file = path + "/data.mdb";
  EXPECT_EQ(LmdbDamage(path), "cannot be read (No such file or directory)");
  WriteLmdb(path, Values(300, 3000));
  const std::string whole = Read(file);
  Write(file, whole.substr(0, whole.size() - kPage));
  EXPECT_NE(LmdbDamage(path).find("is truncated: it has"), std::string::npos);
  Write(file, whole.substr(0, 20));
  EXPECT_NE(LmdbDamage(path).find("is truncated: it has"), std::string::npos);
  Write(file, std::string(whole.size(), '\0'));
  EXPECT_EQ(LmdbDamage(path), "is not an LMDB of version 0.9");
  // The first key of the first leaf page, which is page 2 or later.
  std::string damaged = whole;
  const size_t key = damaged.find("00000000");
  ASSERT_NE(key, std::string::npos);
  damaged[key] = '9';
  Write(file, damaged);
  EXPECT_NE(LmdbDamage(path).find("has keys out of order"), std::string::npos);
  std::remove(file.c_str());
  boost::filesystem::create_directory(file);
  EXPECT_EQ(LmdbDamage(path), "is not a regular file");
}

// Whichever of the two meta pages is the newer one.
TEST(LmdbPagesTest, BothMetaPagesHaveOnePageSize) {
  const TemporaryFolder folder;
  const std::string path = folder / "db", file = path + "/data.mdb";
  WriteLmdb(path, Values(3, 40));
  const std::string whole = Read(file);
  for (const size_t newer : {0, 1}) {
    for (const size_t damaged : {0, 1}) {
      std::string bytes = whole;
      const size_t transaction = 16 + 128;  // of a meta page
      bytes[newer * kPage + transaction] = 9;
      bytes[(1 - newer) * kPage + transaction] = 8;
      bytes[damaged * kPage + 16 + 24 + 1] = 0x20;  // 8192, not 4096
      // Where the size of page 0 says that page 1 is.
      if (damaged == 0) {
        bytes.replace(2 * kPage, kPage, bytes, kPage, kPage);
      }
      Write(file, bytes);
      EXPECT_EQ(LmdbDamage(path),
                "is damaged: its two meta pages have pages of different sizes")
          << newer << damaged;
    }
  }
}

// One field of a page at a time, in the format of LMDB 0.9.
TEST(LmdbPagesTest, ChecksEachField) {
  const TemporaryFolder folder;
  const std::string path = folder / "db", file = path + "/data.mdb";
  WriteLmdb(path, Values(300, 3000));
  const std::string whole = Read(file);
  size_t leaf = 0, branch = 0;
  for (size_t page = 2 * kPage; page < whole.size(); page += kPage) {
    if (whole[page + 10] == 0x01) { branch = page; }
    // A page of a value has no such number in its place.
    if (whole[page + 10] == 0x02 && whole[page + 12] > 0x20) { leaf = page; }
  }
  ASSERT_GT(leaf, 0u);
  ASSERT_GT(branch, 0u);
  const size_t node =
      leaf + uint8_t(whole[leaf + 16]) + 256 * uint8_t(whole[leaf + 17]);
  const struct {
    size_t at;
    std::string bytes, problem;
  } cases[] = {
      {leaf, "\x07\x06", "has no valid header"},
      {leaf + 10, "\x04", "has no valid header"},
      {leaf + 16, "\xfe\xff", "has a node outside of it"},
      {branch + 12, std::string("\x12\0", 2), "has too few nodes"},
      {node + 4, "\x05", "has several values for a key"},
      {node + 4, "\x03", "has a database of a name"},
      {node + 6, "\xff\x7f", "has a key outside of it"},
      {node + 4, std::string("\0", 1), "has "},  // 3000 bytes in the page
      {node + 2, "\xff\xff", "has a value outside of the file"},
      {node + 8 + 8 + 6, "\xff\xff", "has a value outside of the file"},
  };
  for (const auto& damage : cases) {
    std::string damaged = whole;
    damaged.replace(damage.at, damage.bytes.size(), damage.bytes);
    Write(file, damaged);
    EXPECT_NE(LmdbDamage(path).find(damage.problem), std::string::npos)
        << damage.problem << ": " << LmdbDamage(path);
  }
}

// All records could be one large value, which is read for each of them.
TEST(LmdbPagesTest, ValuesDoNotSharePages) {
  const TemporaryFolder folder;
  const std::string path = folder / "db", file = path + "/data.mdb";
  auto values = Values(31, 3000);
  values.back() = std::string(100000, 'x');
  WriteLmdb(path, values);
  std::string damaged = Read(file);
  size_t leaf = 0;
  for (size_t page = 2 * kPage; page < damaged.size(); page += kPage) {
    if (damaged[page + 10] == 0x02 && damaged[page + 12] > 0x20) {
      leaf = page;
    }
  }
  ASSERT_GT(leaf, 0u);
  const auto node = [&](int i) {
    return leaf + uint8_t(damaged[leaf + 16 + 2 * i])
        + 256 * uint8_t(damaged[leaf + 17 + 2 * i]);
  };
  for (int i = 0; i < 30; ++i) {
    // The size of the value; behind the key, the number of its first page.
    damaged.replace(node(i), 4, damaged.substr(node(30), 4));
    damaged.replace(node(i) + 16, 8, damaged.substr(node(30) + 16, 8));
  }
  EXPECT_EQ(LmdbDamage(path), "");
  Write(file, damaged);
  EXPECT_NE(LmdbDamage(path).find("has a value that shares its pages"),
            std::string::npos)
      << LmdbDamage(path);
}

TEST(LmdbPagesTest, PythonGetsACutText) {
  char text[8] = "unused ";
  EXPECT_EQ(dnnh_lmdb_damage("/none", text, sizeof(text)),
            std::string("cannot be read (No such file or directory)").size());
  EXPECT_STREQ(text, "cannot ");
}

// What the check accepts, LMDB reads without a crash. Bytes of the pages that
// LMDB trusts are damaged at random: of meta, branch and leaf pages.
TEST(LmdbPagesTest, AcceptedDamageDoesNoHarm) {
  const TemporaryFolder folder;
  const std::string path = folder / "db", file = path + "/data.mdb";
  std::mt19937 random(1);
  for (const size_t size : {40, 3000}) {
    boost::filesystem::remove_all(path);
    WriteLmdb(path, Values(500, size));
    const std::string whole = Read(file);
    std::vector<size_t> pages = {0, 1};
    for (size_t page = 2; page < whole.size() / kPage; ++page) {
      const char flags = whole[page * kPage + 10];
      if (flags & 0x03) { pages.push_back(page); }
    }
    int refused = 0;
    for (int i = 0; i < 800; ++i) {
      std::string damaged = whole;
      // Headers and pointers of a page matter most.
      const bool start = random() % 2;
      const size_t at = pages[random() % pages.size()] * kPage
          + random() % (start ? 200 : kPage);
      const char values[] = {0, 1, 4, '\x7f', '\xff', char(random())};
      damaged[at] = values[random() % sizeof(values)];
      const bool both = random() % 2 && at + 1 < damaged.size();
      if (both) { damaged[at + 1] = char(random()); }
      Write(file, damaged);
      const std::string damage = LmdbDamage(path);
      if (damage.empty()) {
        // Where LMDB reports an error itself, it does no harm either.
        ReadAll(path);
      } else {
        ++refused;
      }
    }
    EXPECT_GT(refused, 80) << "values of " << size << " bytes";
    EXPECT_LT(refused, 700) << "values of " << size << " bytes";
  }
}

}  // namespace caffe
