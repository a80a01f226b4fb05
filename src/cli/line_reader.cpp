// SPDX-License-Identifier: Apache-2.0
#include "cli/line_reader.h"

#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "cli/interrupt.h"
#include "core/utf8.h"

namespace tenon::cli {
namespace {

constexpr int kHistoryLines = 1000;
constexpr int kPollMilliseconds = 100;

char first_prompt[] = "> ";
char next_prompt[] = ". ";

/// Waits for one byte; false at the end of input or on Ctrl-C. A signal may arrive just before
/// poll() starts to wait, so it never waits long.
bool read_byte(char& byte) {
  while (!InterruptGuard::pending()) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kPollMilliseconds) <= 0) continue;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count == 1) return true;
    if (count == 0 || errno != EINTR) return false;
  }
  return false;
}

/// libedit's own reader tries again after a signal; this one gives the line up.
int read_character(EditLine*, wchar_t* out) {
  std::string bytes(1, '\0');
  if (!read_byte(bytes[0])) return -1;
  while (utf8::complete_prefix(bytes) == 0) {
    char byte = 0;
    if (!read_byte(byte)) return -1;
    bytes += byte;
  }
  *out = static_cast<wchar_t>(utf8::decode(bytes).code_point);
  return 1;
}

void use_utf8() {
  setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineReader::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string history_file;
  bool continued = false;

  static char* prompt(EditLine* line) {
    Editor* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return self != nullptr && self->continued ? next_prompt : first_prompt;
  }

  explicit Editor(const std::filesystem::path& file) : history_file(file.string()) {
    use_utf8();
    line = el_init("tenon", stdin, stdout, stderr);
    history = history_init();
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!history_file.empty()) ::history(history, &event, H_LOAD, history_file.c_str());
    el_set(line, EL_CLIENTDATA, this);
    el_set(line, EL_PROMPT, &Editor::prompt);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, ::history, history);
    el_set(line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(line, EL_GETCFN, &read_character);
    el_source(line, nullptr);  // ~/.editrc
  }

  ~Editor() {
    // Readable by its owner alone (libedit sees to it); a folder that refuses it costs the history.
    if (!history_file.empty()) ::history(history, &event, H_SAVE, history_file.c_str());
    history_end(history);
    el_end(line);
  }
};

LineReader::LineReader(const std::filesystem::path& history) {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) return;
  if (!history.empty()) {
    std::error_code ignored;
    std::filesystem::create_directories(history.parent_path(), ignored);
  }
  editor_ = std::make_unique<Editor>(history);
}

LineReader::~LineReader() = default;

LineReader::Event LineReader::read_piece(std::string& piece, bool continued) {
  if (!editor_) {
    if (std::getline(std::cin, piece)) return Event::kLine;
    return InterruptGuard::pending() ? Event::kInterrupted : Event::kEnd;
  }
  editor_->continued = continued;
  int count = 0;
  const char* text = el_gets(editor_->line, &count);
  if (text == nullptr || InterruptGuard::pending()) {
    std::fputs("\n", stdout);
    return InterruptGuard::pending() ? Event::kInterrupted : Event::kEnd;
  }
  piece = text;
  while (piece.ends_with('\n') || piece.ends_with('\r')) piece.pop_back();
  if (!piece.empty()) ::history(editor_->history, &editor_->event, H_ENTER, piece.c_str());
  return Event::kLine;
}

LineReader::Event LineReader::read(std::string& line) {
  line.clear();
  for (std::string piece;;) {
    const Event event = read_piece(piece, !line.empty());
    if (event == Event::kInterrupted || (event == Event::kEnd && line.empty())) return event;
    if (event == Event::kEnd) return Event::kLine;
    if (piece.ends_with('\r')) piece.pop_back();
    line += piece;
    if (!line.ends_with('\\')) return Event::kLine;
    line.back() = '\n';
  }
}

}  // namespace tenon::cli
