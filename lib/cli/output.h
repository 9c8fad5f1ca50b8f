// Output of commands: one table of typed cells, printed for people or for programs.
//
//   table  aligned columns, sizes as "1.5 GiB" (--exact: bytes)
//   tsv    one tab between cells, sizes in bytes; tabs, newlines and backslashes in texts as \t \n
//   \\ ; the order of columns never changes json   an array of objects, keys as in Column::key,
//   sizes in bytes
// --no-header leaves out the first line of table and tsv.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/options.h"

namespace sp::cli {

enum class Format { table, tsv, json };

// --json, --format, --no-header, --exact.
struct OutputOptions {
  Format format = Format::table;
  bool no_header = false, exact = false;

  void add(Options& options);

 private:
  bool json_ = false;
  std::string format_;
};

struct Bytes64 {  // a size in bytes
  uint64_t value = 0;
};
using Cell = std::variant<std::string, uint64_t, int64_t, bool, Bytes64, double>;

std::string cell_text(const Cell& cell, bool exact);  // as in a table

struct Column {
  std::string key;    // in JSON and as head of tsv
  std::string title;  // as head of the table
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row);  // one cell a column
  size_t rows() const { return rows_.size(); }
  std::string format(const OutputOptions& output) const;
  void print(const OutputOptions& output) const;  // to stdout

 private:
  std::string as_table(const OutputOptions& output) const;
  std::string as_tsv(const OutputOptions& output) const;
  std::string as_json() const;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

std::string json_quoted(std::string_view text);  // with quotes; invalid UTF-8 becomes U+FFFD

}  // namespace sp::cli
