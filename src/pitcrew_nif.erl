%% Private: the native functions, one to one with the table in c_src/nif/pitcrew_nif.c. No logic.
%% docs/protocol.md section 3 has the state machine behind the channel functions.
-module(pitcrew_nif).

-export([encode/2, encode_iov/2, decode/2, decode_all/2]).
-export([term_key/3, term_weight/1]).
-export([listen/1, accept/2, close_listener/1]).
-export([account_new/1, account_info/2, channel_tend/1]).
-export([channel_give/2, channel_hello/4, channel_send/2, channel_recv/2, channel_flush/2, channel_close/1, channel_info/1]).
-export([slots_new/3, slots_install/3, slots_remove/2, slots_info/1, drain/1]).
-export([claim/1, call/10, call_json/8, reply/3, checkin/1, abandon/2, verdict/2]).
-export([dispatch_new/6, dispatch_info/1, dispatch_limit/2, dispatch_watch/1, dispatch_uneven/2, submit/10, submit_json/9, leave/3, stream_tell/3, lane_reply/4, take_over/4, set_host/3]).
-export([lane_attach/7, lane_open/7, lane_deliver/2, lane_recover/1, lane_flush/1, lane_drop/2, lane_stop/2, lane_shutdown/1]).
-export([lane_retire/1, lane_rest/1, lane_forget/1, tenant_new/3, tenant_share/2, tenant_info/1, tenant_end/2]).
-export([lane_give_up/2, lane_unstarted/1]).
-export([finish/1, adopt/2]).
-export([live/0, longest_stay/1]).
-on_load(load/0).

-type left() :: queued | {out, OsPid :: pos_integer()} | out | none.
-export_type([way/0, listener/0, channel/0, slots/0, dispatch/0, tenant/0, ref/0, lease/0, account/0, parcel/0, codec_opts/0, codec_error/0, times/0, sent/0]).

-opaque listener() :: reference().
-opaque channel() :: reference().
-opaque slots() :: reference().
-opaque dispatch() :: reference().
-opaque tenant() :: reference().
-opaque ref() :: reference().
-opaque lease() :: reference().
-opaque account() :: reference().
-opaque parcel() :: reference().
%% Where a call may go: to any worker, to a tenant's, or to the one that has an object.
-type way() :: dispatch() | {dispatch(), tenant() | ref()}.

%% What is not given is the first value. pitcrew_msgpack has the meaning of each; calls use the first three.
%% `bin' and `bytes' are the same. `raw' has a bit for each extension, by its type modulo 256, that is kept as a struct
%% Pitcrew.MessagePack.Ext; such a struct is written only when there is a `raw'. `inline_units' is for tests: how much
%% work the codec does before it goes to a dirty scheduler; `share_least' is the smallest binary that shares the input's
%% memory; `functions' are those that a worker may call, with their numbers, and the process that is told of it: in the arguments of a call any other
%% is refused; `nested' is there where such a function makes the call: the calls around it in the same pool, innermost first, and for what each waits (0: where its worker can run nothing meanwhile); `lease' is what came with an answer that has references, `parcel' with one whose large payloads came in shared memory.
%% With `timed' call/10, reply/3 and the answer to submit/10 tell how long the codec took: times() and sent().
-type codec_opts() :: #{
    binaries => str | bin | bytes | auto,
    nil => nil | undefined | null,
    bytes => plain | tagged,
    atoms => ext | string | existing,
    tuples => ext | list | error,
    keys => string | existing_atom,
    floats => atoms | error,
    copy_binaries => boolean(),
    max_depth => 1..512,
    max_size => infinity | pos_integer(),
    raw => <<_:256>>,
    inline_units => pos_integer(),
    share_least => pos_integer(),
    lease => lease(),
    parcel => parcel(),
    functions => {Host :: pid(), #{fun() | pitcrew_iterator:iterator() => non_neg_integer()}},
    nested => [{channel(), Function :: non_neg_integer()}],
    timed => boolean()
}.
%% Of an answer, how long the tool took, in nanoseconds, and, of a call that is `timed', the decoding.
-type times() :: PythonNs :: integer() | {PythonNs :: integer(), DecodeNs :: integer()}.
%% Of a call, how many bytes went out, and how long the encoding took if it is `timed'.
-type sent() :: Bytes :: non_neg_integer() | {Bytes :: non_neg_integer(), EncodeNs :: integer()}.
%% `path' is outermost first: list indices and map keys. `struct' names a struct that has no form of its own, `ref' is the handle of a
%% reference to an object of another worker than the one that the call is for; `function' is there where a function is refused.
-type codec_error() :: #{
    kind := encode_error | decode_error | too_big, message := binary(), path := [term()], struct => term(), ref => ref(), function => true
}.

load() ->
    Library = filename:join(priv_dir(), "pitcrew_nif"),
    erlang:load_nif(Library, templates()).

%% Elixir's own definitions of the structs that the codec makes, where there is Elixir.
templates() ->
    Names = ['Elixir.MapSet', 'Elixir.Date', 'Elixir.Time', 'Elixir.NaiveDateTime', 'Elixir.DateTime',
             'Elixir.Decimal'],
    maps:from_list([{Name, Name:'__struct__'()} || Name <- Names, has_struct(Name)]).

has_struct(Name) ->
    _ = code:ensure_loaded(Name),
    erlang:function_exported(Name, '__struct__', 0).

priv_dir() ->
    case code:priv_dir(pitcrew) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

%% Codec. All move to a dirty CPU scheduler by themselves when the work is large. `raw' instead of `ok': there are
%% structs Pitcrew.MessagePack.Ext in the term.
-spec encode(term(), codec_opts()) -> {ok, binary()} | {error, codec_error()}.
encode(_Term, _Opts) -> erlang:nif_error(not_loaded).
%% Large binaries are not copied.
-spec encode_iov(term(), codec_opts()) -> {ok, [binary()]} | {error, codec_error()}.
encode_iov(_Term, _Opts) -> erlang:nif_error(not_loaded).
-spec decode(binary(), codec_opts()) -> {ok | raw, term()} | {error, codec_error()}.
decode(_Binary, _Opts) -> erlang:nif_error(not_loaded).
%% Value after value; Left counts the bytes at the end that are the beginning of another value.
-spec decode_all(binary(), codec_opts()) ->
    {ok | raw, [term()], Left :: non_neg_integer()} | {error, codec_error()}.
decode_all(_Binary, _Opts) -> erlang:nif_error(not_loaded).

%% For the cache. The 128 bits that stand for a term, by a hash with that key: c_src/nif/term_key.h says what they tell apart. About the bytes
%% that a copy of it takes. `none': it is or holds a pid, reference, port, fun, bitstring or improper list, or is nested too deeply.
%% `Units' is for tests, as `inline_units' above; 0 is the usual.
-spec term_key(term(), Key :: <<_:128>>, Units :: non_neg_integer()) -> <<_:128>> | none.
term_key(_Term, _Key, _Units) -> erlang:nif_error(not_loaded).
-spec term_weight(term()) -> non_neg_integer() | none.
term_weight(_Term) -> erlang:nif_error(not_loaded).

%% Listening. The descriptor closes when the calling process (its owner) ends.
%% accept/2 arms a select when nobody is there: {select, Listener, Ref, ready_input} will come.
%% Only peers with the uid of this VM are accepted, others are closed at once. An accepted channel is the caller's.
-spec listen(file:filename_all()) -> {ok, listener()} | {error, file:posix()}.
listen(_Path) -> erlang:nif_error(not_loaded).
-spec accept(listener(), reference()) ->
    {ok, channel(), #{pid := integer(), uid := integer()}} | again | {error, file:posix()}.
accept(_Listener, _Ref) -> erlang:nif_error(not_loaded).
-spec close_listener(listener()) -> ok.
close_listener(_Listener) -> erlang:nif_error(not_loaded).

%% Phase `control': only the controlling process may use these; anyone else gets {error, not_owner}.
-spec channel_give(channel(), pid()) -> ok | {error, not_owner | noproc}.
channel_give(_Channel, _NewOwner) -> erlang:nif_error(not_loaded).
%% Sends a frame [Kind, Id | Rest]. What the socket does not take is kept; `pending' means that
%% {select, Channel, undefined, ready_output} will come, to be answered with channel_flush/2.
%% A channel that lies `free' goes back to `control' with this, so that nobody can claim it any more; a claimed one is
%% `closed'.
-spec channel_send(channel(), nonempty_list()) -> ok | pending | {error, codec_error() | closed | not_owner}.
channel_send(_Channel, _Frame) -> erlang:nif_error(not_loaded).
%% The first frame to a worker, and with it what the worker is given: memory in which it publishes what it has started, if it is to do that, and
%% its end of the shared memory for large payloads, if the pool has an account for that. docs/protocol.md, section 1.
-spec channel_hello(channel(), nonempty_list(), Publishes :: boolean(), account() | none) ->
    ok | {error, codec_error() | closed | not_owner | file:posix()}.
channel_hello(_Channel, _Frame, _Publishes, _Account) -> erlang:nif_error(not_loaded).
%% Now and then: shared memory that has not been used for ten seconds goes back to the system.
-spec channel_tend(channel()) -> ok.
channel_tend(_Channel) -> erlang:nif_error(not_loaded).
%% Of a pool: what terms may hold of shared memory, in bytes, and the segments of each end of a channel may have in all. `none' where the system has
%% no memory that can be shared and sealed.
-spec account_new(Most :: non_neg_integer()) -> account() | none.
account_new(_Most) -> erlang:nif_error(not_loaded).
%% How many bytes are held, in how many payloads, and the oldest of them, at most a hundred that have been held for at least so many
%% milliseconds: who was given it, bytes, and for how long it has been there.
-spec account_info(account(), LeastMs :: non_neg_integer()) ->
    {Bytes :: non_neg_integer(), Payloads :: non_neg_integer(), [{pid(), Bytes :: pos_integer(), Ms :: non_neg_integer()}]}.
account_info(_Account, _LeastMs) -> erlang:nif_error(not_loaded).
-spec channel_flush(channel(), undefined) -> ok | pending | {error, closed | not_owner}.
channel_flush(_Channel, _Tag) -> erlang:nif_error(not_loaded).
%% One frame, or `again' after arming {select, Channel, Ref, ready_input}.
-spec channel_recv(channel(), reference()) ->
    {ok, nonempty_list()} | again | {error, codec_error() | closed | not_owner}.
channel_recv(_Channel, _Ref) -> erlang:nif_error(not_loaded).
%% Idempotent; any phase; only by the controlling process. Its death does the same.
-spec channel_close(channel()) -> ok | {error, not_owner}.
channel_close(_Channel) -> erlang:nif_error(not_loaded).
%% `call_id' is that of the last call whose frame was made. Of a lane: how many calls are out, and which is the first of
%% them, or 0.
-spec channel_info(channel()) ->
    #{phase := atom(), flags := [atom()], bytes_in := integer(), bytes_out := integer(), calls := integer(),
      call_id := non_neg_integer(), load := integer(), first := non_neg_integer(), refs := non_neg_integer(), running := integer()}.
channel_info(_Channel) -> erlang:nif_error(not_loaded).

%% Slots: a fixed table, indices 0..Size-1, that ends with the process Pool. Of the free ones the one is taken that became so last, or first.
-spec slots_new(pos_integer(), lifo | fifo, pid()) -> slots().
slots_new(_Size, _Order, _Pool) -> erlang:nif_error(not_loaded).
%% Called by the channel's controlling process, which keeps control for close and verdict: the channel leaves
%% `control' and becomes `free'.
-spec slots_install(slots(), non_neg_integer(), channel()) -> ok | {error, not_owner | taken | closed}.
slots_install(_Slots, _Index, _Channel) -> erlang:nif_error(not_loaded).
-spec slots_remove(slots(), non_neg_integer()) -> ok.
slots_remove(_Slots, _Index) -> erlang:nif_error(not_loaded).
-spec slots_info(slots()) -> #{size := integer(), installed := integer(), free := integer()}.
slots_info(_Slots) -> erlang:nif_error(not_loaded).
%% No call comes to the channel any more, as a slot or as a lane. `idle': none is there either. `busy': when the last one has ended, its
%% controlling process is sent {pitcrew_channel, Channel, drained}; it may be after `idle', too.
-spec drain(channel()) -> idle | busy.
drain(_Channel) -> erlang:nif_error(not_loaded).

%% The worker's pid is what lane_attach/7 was told.
-spec claim(slots()) -> {ok, channel(), OsPid :: non_neg_integer()} | busy.
claim(_Slots) -> erlang:nif_error(not_loaded).

%% The owner's calls. Args is a list, Kwargs a map or nil, Meta a map or nil. The deadline is for the worker to know. After `{ok, Bytes}' messages tagged Ref
%% come:
%% {select, Channel, Ref, ready_input | ready_output}, each answered with reply/3, or
%% {pitcrew_verdict, Ref, Reason, Owed}, after which only checkin/1 is left to do (its result then says nothing new).
%% `pending' instead of `ok': the frame is not out yet. `Owed', here and in {owed, N, _} below, is how many select
%% messages of this call have been sent, or are about to be, beyond those that reply/3 has answered: receive so many.
%% `ready': the frame is out, and within SpinNs nanoseconds something came back: answer with reply/3 at once, no message
%% comes.
%% {error, Map}: nothing was sent, the slot is still claimed. poisoned: nothing was sent; after checkin/1 claim another
%% slot.
-spec call(channel(), reference(), Tool :: binary(), Args :: list(), Kwargs :: map() | nil, Meta :: map() | nil,
           codec_opts(), MaxFrame :: pos_integer(), SpinNs :: non_neg_integer(), pitcrew_deadline:deadline()) ->
    {ok | ready | pending, sent()} | {error, codec_error()} | poisoned.
call(_Channel, _Ref, _Tool, _Args, _Kwargs, _Meta, _Opts, _MaxFrame, _SpinNs, _Deadline) -> erlang:nif_error(not_loaded).
%% The same with texts of pitcrew_json_nif: Tool a string, Args an array, Kwargs an object or null.
-spec call_json(channel(), reference(), Tool :: binary(), Args :: binary(), Named :: binary(),
                MaxFrame :: pos_integer(), SpinNs :: non_neg_integer(), pitcrew_deadline:deadline()) ->
    {ok | ready | pending, BytesOut :: non_neg_integer()} | {error, codec_error()} | poisoned.
call_json(_Channel, _Ref, _Tool, _Args, _Named, _MaxFrame, _SpinNs, _Deadline) -> erlang:nif_error(not_loaded).
%% An answer is in the format of the call; of one in JSON the value comes as text. `again': armed again.
%% `lost': end of file, a broken frame, or a verdict in the middle of it; the verdict will come as a message.
%% `poisoned': the verdict was passed meanwhile; its message is in the mailbox or on its way, and its Owed counts the select message
%% that reply/3 was called for. `called': the worker calls the VM; take_over/4 is next.
-spec reply(channel(), reference(), codec_opts()) ->
    {reply, times(), BytesIn :: integer(), term()}
    | {fault, times(), BytesIn :: integer(), map()}
    | {json, reply | fault, PythonNs :: integer(), BytesIn :: integer(), binary()}
    | {error, codec_error()}
    | again | called | lost | poisoned
    | dropped.
reply(_Channel, _Ref, _Opts) -> erlang:nif_error(not_loaded).
%% Gives the slot back. `verdict': it will not be used again, and one {pitcrew_verdict, Ref, _, _} is in the mailbox or
%% on its way: receive it. `poisoned': it will not be used again, and no verdict comes.
-type ending() :: ok | poisoned | verdict.
-spec checkin(channel()) -> ending() | {owed, pos_integer(), ending()}.
checkin(_Channel) -> erlang:nif_error(not_loaded).
%% The same at a deadline: ends an outstanding call.
-spec abandon(channel(), reference()) -> ending() | {owed, pos_integer(), ending()}.
abandon(_Channel, _Ref) -> erlang:nif_error(not_loaded).
%% By the controlling process, once. Calls that it is lent for end. The owner of an outstanding call is sent {pitcrew_verdict, Ref, Reason, Owed}.
%% The controlling process itself is told {pitcrew_channel, Channel, cut | lost | adopt} by the machine.
-spec verdict(channel(), Reason :: term()) -> ok | {error, not_owner}.
verdict(_Channel, _Reason) -> erlang:nif_error(not_loaded).

%% By the owner, before it calls: if it dies, its calls go on, as soon as their frames are whole. Until the next claim.
-spec finish(channel()) -> ok | poisoned.
finish(_Channel) -> erlang:nif_error(not_loaded).
%% By the controlling process that was told `adopt': it owns the channel now. Next is reply/3 with this reference, at
%% once, as after `ready'; the answer itself is read and dropped (`dropped'). `poisoned': there is nothing to adopt any
%% more.
-spec adopt(channel(), reference()) -> ok | poisoned | {error, not_owner}.
adopt(_Channel, _Ref) -> erlang:nif_error(not_loaded).

%% Calls that no caller has claimed a slot for (docs/protocol.md, section 3): of pipelined workers, whose channels are lanes that hold at most
%% Depth calls, Width of which run at once, and those that wait for a slot. `none' instead of slots where workers are pipelined; of those
%% with as little to do a call goes to the one that has had so last, or first.
-spec dispatch_new(Depth :: 1..1024, Width :: 1..1024, slots() | none, lifo | fifo, Pool :: pid(), Name :: atom()) -> dispatch().
dispatch_new(_Depth, _Width, _Slots, _Order, _Pool, _Name) -> erlang:nif_error(not_loaded).
%% `free': lanes without a call; `out', `queued': calls; `waited_ns': for how long the first of those has been.
-spec dispatch_info(dispatch()) ->
    #{lanes := integer(), free := integer(), out := integer(), queued := integer(), waited_ns := integer()}.
dispatch_info(_Dispatch) -> erlang:nif_error(not_loaded).
%% How many calls may wait; any further one is refused with `full'.
-spec dispatch_limit(dispatch(), non_neg_integer() | infinity) -> ok.
dispatch_limit(_Dispatch, _Most) -> erlang:nif_error(not_loaded).
%% The pool wants one {pitcrew_dispatch, wanted}, at the next call that finds no worker that could run it at once.
-spec dispatch_watch(dispatch()) -> ok.
dispatch_watch(_Dispatch) -> erlang:nif_error(not_loaded).
%% Calls that wait behind one which has run for AgeNs, while other workers have nothing to do. Asked for by the pool after the message
%% {pitcrew_dispatch, uneven}, again and again until it says `balanced'; then that message may come again.
-spec dispatch_uneven(dispatch(), AgeNs :: non_neg_integer()) -> balanced | [{Index :: non_neg_integer(), Id :: pos_integer()}].
dispatch_uneven(_Dispatch, _AgeNs) -> erlang:nif_error(not_loaded).
%% After `ok' (it is out) or `queued' one message comes: {pitcrew_end, Ref, OsPid | nil, BytesOut, QueueNs, Answer}; Answer is that of
%% reply/3; or {frame, reply | fault, PythonNs, BytesIn, Bytes}, to be decoded; or that with a lease behind it, or a lease or `none' and a parcel; or {exit, Reason}; or `unstarted': the worker has gone, or
%% another one is free, and the call has had no effect. `over': the pool has ended.
%% A call that can go to one worker only ends with {gone, Reason} instead of `unstarted', and is refused with `gone' when that worker takes no
%% more calls or the tenant has ended, with `held' when that worker waits for this very call, or with `foreign' when the worker is another pool's. An exclusive tenant's first call waits for a
%% worker that nobody else keeps to, and gets it for the tenant.
-spec submit(way(), reference(), Tool :: binary(), Args :: list(), Kwargs :: map() | nil, Meta :: map() | nil,
             codec_opts(), MaxFrame :: pos_integer(), OnCallerExit :: cancel | finish, pitcrew_deadline:deadline()) ->
    ok | queued | full | over | gone | held | foreign | {error, codec_error()}.
submit(_Way, _Ref, _Tool, _Args, _Kwargs, _Meta, _Opts, _MaxFrame, _OnCallerExit, _Deadline) ->
    erlang:nif_error(not_loaded).
%% The same with texts of pitcrew_json_nif, as in call_json/8.
-spec submit_json(way(), reference(), Tool :: binary(), Args :: binary(), Named :: binary(), codec_opts(),
                  MaxFrame :: pos_integer(), OnCallerExit :: cancel | finish, pitcrew_deadline:deadline()) ->
    ok | queued | full | over | gone | held | foreign | {error, codec_error()}.
submit_json(_Way, _Ref, _Tool, _Args, _Named, _Opts, _MaxFrame, _OnCallerExit, _Deadline) ->
    erlang:nif_error(not_loaded).
%% What the death of the caller does, too; then it may be {finish, Id}. `queued': it was taken out of the queue. {out, Index}: no message comes, and the worker's process is told {pitcrew_channel, Channel, {left, Id}};
%% with OnlyQueued it is just `out', and nothing has changed. `none': the message has come, or is about to. {owed, N, _}: there have been
%% N messages with chunks, or `pitcrew_called', in all, the last of which may still be about to come.
-spec leave(dispatch(), reference(), OnlyQueued :: boolean()) -> left() | {owed, pos_integer(), left()}.
leave(_Dispatch, _Ref, _OnlyQueued) -> erlang:nif_error(not_loaded).
%% Streams: calls that have `stream', their first credit, in their meta. Their chunks come in messages {pitcrew_chunks, Ref, Cost, Bytes, [Term]} and
%% {pitcrew_chunk, Ref, Cost, Bytes, Answer} before the end; each costs what c_src/wire/stream.h says. More credit, or the wish that it
%% ends; `none': it has ended, or waits still.
-spec stream_tell(dispatch(), reference(), Credit :: pos_integer() | stop) -> ok | none.
stream_tell(_Dispatch, _Ref, _What) -> erlang:nif_error(not_loaded).
%% Functions: with `functions' among the options of a call its host is sent {pitcrew_function, Channel, Id, Index | Name, Waits, Bytes} when the worker calls one,
%% or a tool of the VM, with [Args, Kwargs] as MessagePack. Without them its caller is sent {pitcrew_called, Ref, That}, which leave/3 counts like messages
%% with chunks. What became of it, in MessagePack too: a value, or the map of an error. `gone': the channel is closed, or
%% somebody else's; `full': there is no memory.
-spec lane_reply(channel(), reply | error, Id :: non_neg_integer(), binary()) -> ok | gone | too_big | full.
lane_reply(_Channel, _Kind, _Id, _Value) -> erlang:nif_error(not_loaded).
%% By the owner of a channel whose call has come to `called': from now on it is the lane's, and the call one that was submitted with that reference. Then Owed
%% messages {select, _, Ref, _} are in the mailbox, or on their way. `lost': the verdict will come as a message.
-spec take_over(channel(), reference(), codec_opts(), BytesOut :: non_neg_integer()) -> {ok, Owed :: non_neg_integer()} | lost.
take_over(_Channel, _Ref, _Opts, _BytesOut) -> erlang:nif_error(not_loaded).
%% Of a call of the calling process that came to {pitcrew_called, Ref, _}: from now on the host is told. `none': it has ended.
-spec set_host(dispatch(), reference(), Host :: pid()) -> ok | none.
set_host(_Dispatch, _Ref, _Host) -> erlang:nif_error(not_loaded).
%% By the controlling process, before slots_install/3: the reader is sent `pitcrew_lent' when the slot is lent. After so many calls,
%% unless that is 0, {pitcrew_channel, Channel, worn} comes.
-spec lane_attach(dispatch(), non_neg_integer(), OsPid :: pos_integer(), channel(), Reader :: pid(), MaxFrame :: pos_integer(),
                  WornAfter :: non_neg_integer()) ->
    ok | {error, not_owner | closed}.
lane_attach(_Dispatch, _Index, _OsPid, _Channel, _Reader, _MaxFrame, _WornAfter) -> erlang:nif_error(not_loaded).
%% By the controlling process, instead of slots_install/3.
-spec lane_open(dispatch(), non_neg_integer(), OsPid :: pos_integer(), channel(), Reader :: pid(), MaxFrame :: pos_integer(),
                WornAfter :: non_neg_integer()) ->
    ok | {error, not_owner | closed}.
lane_open(_Dispatch, _Index, _OsPid, _Channel, _Reader, _MaxFrame, _WornAfter) -> erlang:nif_error(not_loaded).
%% By the reader. `more': look again; `again': {select, Channel, Ref, ready_input} will come. `lost': nothing more will be read.
%% `idle': the channel is a slot, or closed.
%% The reader may be sent {select, Channel, undefined, ready_output} at any time, to be answered with lane_flush/1, and then lane_deliver/2.
-spec lane_deliver(channel(), reference()) -> more | again | lost | idle.
lane_deliver(_Channel, _Ref) -> erlang:nif_error(not_loaded).
%% Of a dead worker, after everything else was read: what it had not sent yet is there to be delivered.
-spec lane_recover(channel()) -> ok.
lane_recover(_Channel) -> erlang:nif_error(not_loaded).
-spec lane_flush(channel()) -> ok.
lane_flush(_Channel) -> erlang:nif_error(not_loaded).
%% By the controlling process. drop: the worker has dropped a call that it had not started. shutdown: it is told to end, if it has nothing
%% to do.
-spec lane_drop(channel(), Id :: pos_integer()) -> ok.
lane_drop(_Channel, _Id) -> erlang:nif_error(not_loaded).
%% Whether that call is out, and the first one: then the lane takes no more, so ending the worker ends no call that comes later.
-spec lane_stop(channel(), Id :: pos_integer()) -> boolean().
lane_stop(_Channel, _Id) -> erlang:nif_error(not_loaded).
%% A call that nobody waits for has not ended although it was told to: the lane drains, as after drain/1, and such calls count as
%% ended. `unstarted': it waits in the worker. `none': it has ended.
-spec lane_give_up(channel(), Id :: pos_integer()) -> {stuck, Others :: non_neg_integer()} | unstarted | none.
lane_give_up(_Channel, _Id) -> erlang:nif_error(not_loaded).
%% Calls that are out and that the worker has not said it has started.
-spec lane_unstarted(channel()) -> [Id :: pos_integer()].
lane_unstarted(_Channel) -> erlang:nif_error(not_loaded).
-spec lane_shutdown(channel()) -> ok | busy.
lane_shutdown(_Channel) -> erlang:nif_error(not_loaded).

%% From now on the worker takes only calls that can go to no other, of sessions and objects that it has.
%% Those that could go elsewhere and have not come to the front should be moved.
-spec lane_retire(channel()) -> [Id :: pos_integer()].
lane_retire(_Channel) -> erlang:nif_error(not_loaded).
%% By the reader that was sent `pitcrew_lent' while it waits: what it had armed is taken back, though its message may come.
-spec lane_rest(channel()) -> ok.
lane_rest(_Channel) -> erlang:nif_error(not_loaded).
%% By the controlling process that was sent `pitcrew_released': the worker drops objects whose references were collected.
-spec lane_forget(channel()) -> ok.
lane_forget(_Channel) -> erlang:nif_error(not_loaded).

%% Sessions, as c_src/wire/tenant.h has them; the id is the worker's. share: whether the worker takes it. info: its worker's channel, and
%% whether any of its calls waits or runs. end: its calls are refused, those that wait end with {gone, Reason}, and the worker
%% drops what it keeps for the session when those that run have ended.
-spec tenant_new(dispatch(), Id :: pos_integer(), Exclusive :: boolean()) -> tenant().
tenant_new(_Dispatch, _Id, _Exclusive) -> erlang:nif_error(not_loaded).
-spec tenant_share(tenant(), channel()) -> boolean().
tenant_share(_Tenant, _Channel) -> erlang:nif_error(not_loaded).
-spec tenant_info(tenant()) -> {channel() | none, idle | busy}.
tenant_info(_Tenant) -> erlang:nif_error(not_loaded).
-spec tenant_end(tenant(), Reason :: term()) -> ok.
tenant_end(_Tenant, _Reason) -> erlang:nif_error(not_loaded).

%% Native handles alive, for leak gates.
-spec live() ->
    #{listeners := integer(), channels := integer(), slots := integer(), dispatchers := integer(), descriptors := integer(),
      suspended := integer(), refs := integer()}.
live() -> erlang:nif_error(not_loaded).

%% For tests and benchmarks: the longest that encode, decode, call or reply stayed on a normal scheduler since the
%% last time, in nanoseconds of processor time. `true' goes on measuring, `false' stops; at first nothing is measured.
-spec longest_stay(boolean()) -> non_neg_integer().
longest_stay(_Watch) -> erlang:nif_error(not_loaded).
