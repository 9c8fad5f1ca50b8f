#include "cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "api/value.h"
#include "base/units.h"

namespace sp::cli {

namespace {

std::string plain(const Cell& cell, bool exact) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* size = std::get_if<Bytes64>(&cell))
    return exact ? std::to_string(size->value) : format_size(size->value);
  if (const auto* boolean = std::get_if<bool>(&cell)) return *boolean ? "yes" : "no";
  if (const auto* number = std::get_if<int64_t>(&cell)) return std::to_string(*number);
  if (const auto* number = std::get_if<double>(&cell)) return fmt::format("{:.2f}", *number);
  return std::to_string(std::get<uint64_t>(cell));
}

bool right_aligned(const Cell& cell) {
  return !std::holds_alternative<std::string>(cell) && !std::holds_alternative<bool>(cell);
}

// Characters, not bytes: continuation bytes of UTF-8 take no column.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

// What a terminal must not be sent: control characters.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::string tsv_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\t')
      out += "\\t";
    else if (c == '\n')
      out += "\\n";
    else if (c == '\\')
      out += "\\\\";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string cell_text(const Cell& cell, bool exact) { return plain(cell, exact); }

void OutputOptions::add(Options& options) {
  options.flag("--json", json_, "Print JSON (the same as --format=json).");
  options.choice("--format", {"table", "tsv", "json"}, format_,
                 "How to print: table (default), tsv or json.");
  options.flag("--no-header", no_header, "Leave out the line with the names of the columns.");
  options.flag("--exact", exact, "Print sizes in bytes.");
  options.check([this]() -> Status {
    if (json_ && !format_.empty() && format_ != "json")
      return Error(Code::invalid, "--json contradicts --format=" + format_);
    format = json_ || format_ == "json" ? Format::json
             : format_ == "tsv"         ? Format::tsv
                                        : Format::table;
    return {};
  });
}

void Table::add(std::vector<Cell> row) {
  SP_ASSERT_OP(row.size(), ==, columns_.size());
  rows_.push_back(std::move(row));
}

std::string Table::format(const OutputOptions& output) const {
  switch (output.format) {
    case Format::table: return as_table(output);
    case Format::tsv: return as_tsv(output);
    case Format::json: return as_json();
  }
  SP_UNREACHABLE();
}

void Table::print(const OutputOptions& output) const {
  const std::string text = format(output);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string Table::as_table(const OutputOptions& output) const {
  std::vector<size_t> widths;
  for (const auto& column : columns_) widths.push_back(output.no_header ? 0 : width(column.title));
  std::vector<std::vector<std::string>> texts;
  for (const auto& row : rows_) {
    auto& line = texts.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      line.push_back(printable(plain(row[i], output.exact)));
      widths[i] = std::max(widths[i], width(line.back()));
    }
  }
  std::string out;
  const auto put = [&](const std::string& text, size_t column, bool right) {
    const std::string gap(widths[column] - width(text), ' ');
    out += column == 0 ? "" : "  ";
    out += right ? gap + text : text + gap;
  };
  const auto end_line = [&] {
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  };
  if (!output.no_header) {
    for (size_t i = 0; i < columns_.size(); ++i)
      put(columns_[i].title, i, !rows_.empty() && right_aligned(rows_.front()[i]));
    end_line();
  }
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t i = 0; i < columns_.size(); ++i) put(texts[r][i], i, right_aligned(rows_[r][i]));
    end_line();
  }
  return out;
}

std::string Table::as_tsv(const OutputOptions& output) const {
  std::string out;
  if (!output.no_header) {
    for (size_t i = 0; i < columns_.size(); ++i) out += (i == 0 ? "" : "\t") + columns_[i].key;
    out += '\n';
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i)
      out += (i == 0 ? "" : "\t") + tsv_escaped(plain(row[i], true));
    out += '\n';
  }
  return out;
}

std::string Table::as_json() const {
  std::string out = "[";
  for (size_t r = 0; r < rows_.size(); ++r) {
    out += r == 0 ? "\n{" : ",\n{";
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Cell& cell = rows_[r][i];
      out += fmt::format("{}{}:", i == 0 ? "" : ",", json_quoted(columns_[i].key));
      if (const auto* text = std::get_if<std::string>(&cell))
        out += json_quoted(*text);
      else if (const auto* boolean = std::get_if<bool>(&cell))
        out += *boolean ? "true" : "false";
      else
        out += plain(cell, true);
    }
    out += "}";
  }
  return out + (rows_.empty() ? "]\n" : "\n]\n");
}

std::string json_quoted(std::string_view text) { return api::Json().text(text).take(); }

}  // namespace sp::cli
