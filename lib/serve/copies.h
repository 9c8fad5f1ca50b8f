// Copies: speaking to one copy of a set, whether it is on a disk of this server or of another. One
// function per request; each ends exactly once, and an Error means that the copy could not be asked
// or that the outcome is unknown. A refusal by the copy is a reply with ok = false.
#pragma once
#include "base/callback.h"
#include "serve/context.h"
#include "wire/data_messages.h"

namespace sp::serve {

void begin_epoch(Context& context, const Place& place, const wire::BeginEpoch& request,
                 Callback<void(Result<wire::BeginEpochReply>)> done);
void fetch_undecided(Context& context, const Place& place, const wire::FetchUndecided& request,
                     Callback<void(Result<wire::FetchUndecidedReply>, Buffer)> done);
void fetch_block(Context& context, const Place& place, const wire::FetchBlock& request,
                 Callback<void(Result<wire::FetchBlockReply>, Buffer)> done);
void recover_object(Context& context, const Place& place, const wire::RecoverObject& request,
                    const Buffer& data, Callback<void(Result<wire::RecoverObjectReply>)> done);

// Answers a fetch_block from a disk of this server: the content, if exactly this version is decided
// there and whole. `damaged` is set when it is there but fails verification.
void answer_fetch_block(LocalDisk& disk, const wire::FetchBlock& request,
                        Callback<void(wire::FetchBlockReply, Buffer, bool damaged)> done);

}  // namespace sp::serve
