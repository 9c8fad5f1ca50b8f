// NbdConnection: one client of an NbdServer: the handshake (nbd_connection.cc), then requests and
// replies (nbd_transmission.cc).
//
// Input is consumed as far as there is room: for requests up to the limits, and in the handshake
// while few replies wait to be sent. When there is no room the socket is not read, which is the
// backpressure. After close() the object stays until its operations on the device have ended; the
// server's sweep then destroys it. Internal to lib/attach; thread rule: the reactor's.
#pragma once
#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "attach/nbd_protocol.h"
#include "attach/nbd_server.h"

namespace sp::attach {

class NbdConnection {
 public:
  NbdConnection(NbdServer& server, io::Host& host, std::unique_ptr<io::Socket> socket);
  ~NbdConnection();

  void start();
  void close();
  bool closed() const { return phase_ == Phase::closed; }
  const NbdServer::Export* exported() const { return export_; }
  size_t operations() const { return operations_; }

 private:
  enum class Phase : uint8_t {
    client_flags,
    option_header,
    option_data,
    request,
    payload,
    draining,
    closed
  };

  struct Request {
    nbd::Request wire{};
    uint64_t cost = 0;           // bytes held against the limit
    std::vector<Buffer> pieces;  // data read or to be written, in order
    uint64_t allocated = 0;      // sum of the sizes of pieces
    uint64_t received = 0;       // write: payload bytes taken from the stream
    size_t issued = 0;           // write: pieces handed to the device
    uint64_t started = 0;        // zeroes written out: bytes handed to the device
    uint32_t parts =
        0;  // what must end before the request does: operations, and a hold while they are started
    bool discarded = false;  // write: refused; its payload is read and dropped
    nbd::Errno error = nbd::Errno::none;
    std::string error_text;
  };
  struct Reply {
    std::vector<std::byte> head;
    Buffer data;
    std::vector<Buffer> more;     // after data
    Request* finishes = nullptr;  // released once this is sent
  };

  // Input.
  void receive();
  void consume();
  bool consume_some();       // false: more input or more room is needed
  Bytes take(size_t count);  // empty unless `count` bytes are there
  size_t available() const { return input_end_ - input_begin_; }
  void fail(std::string_view reason);

  // Handshake.
  bool take_client_flags();
  bool take_option_header();
  bool take_option_data();
  void option_list(Bytes data);
  void option_info(Bytes data);
  void option_meta_context(Bytes data);
  bool option_export_name(Bytes data);
  void answer(nbd::OptionReply type, Bytes data = {});
  void refuse(nbd::OptionReply type, std::string_view text);
  void send_info(nbd::Info type, Bytes data);
  uint16_t transmission_flags() const;
  void enter_transmission(NbdServer::Export* exported);

  // Transmission.
  bool take_request();
  bool take_payload();
  bool has_room(const nbd::Request& wire) const;
  nbd::Errno check(const nbd::Request& wire, std::string_view& why) const;
  void begin(Request* request);
  void begin_read(Request* request);
  void continue_zeroes(Request* request);
  void issue_write(Request* request);
  Unaligned::Done operation(Request* request);  // counts one more under way
  void operation_ended();
  void read_ended(Request* request, size_t index, uint64_t offset, const Status& status);
  void drop_part(Request* request);
  void note_error(Request* request, const Status& status);
  void finish(Request* request);
  void send_error(Request* request);
  void send_block_status(Request* request);
  Request* acquire(const nbd::Request& wire);
  void release(Request* request);

  // Output.
  void queue(Reply reply);
  void send();
  void sent(const Status& status);

  NbdServer& server_;
  io::Host& host_;
  std::unique_ptr<io::Socket> socket_;
  std::string peer_;
  NbdServer::Export* export_ = nullptr;
  io::Timer handshake_timer_;
  Phase phase_ = Phase::client_flags;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::vector<std::byte> input_;
  size_t input_begin_ = 0, input_end_ = 0;
  bool receiving_ = false, consuming_ = false;

  bool no_zeroes_ = false, structured_ = false, allocation_context_ = false;
  std::string meta_export_;
  nbd::OptionHeader option_{};

  Request* writing_ = nullptr;                      // its payload is being received
  std::vector<std::unique_ptr<Request>> requests_;  // all records, in use or spare
  std::vector<Request*> spare_;
  size_t requests_in_flight_ = 0;
  uint64_t bytes_in_flight_ = 0;
  size_t operations_ = 0;

  std::deque<Reply> replies_;  // to be sent
  std::vector<Reply> sending_;
  std::vector<Bytes> send_parts_;
  bool send_posted_ = false;
  Buffer zeros_;
};

}  // namespace sp::attach
