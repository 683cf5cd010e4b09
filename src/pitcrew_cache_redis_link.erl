%% The connection to Redis, through eredis, which is looked for at run time: one for a pool, on which the commands of all callers follow each other.
%%
%% Who asks waits for at most `timeout'. When Redis has not answered in that time, or is not there, nobody asks for `retry_after'; then one caller
%% tries. So a pool whose Redis is gone, or hangs, is slowed down by little.
-module(pitcrew_cache_redis_link).
-behaviour(gen_server).

-export([available/0, new/1, child_spec/2, start_link/2, ask/3, insist/3]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([link/0]).

-record(link, {
    timeout :: pos_integer(),
    retry_after :: pos_integer(),
    %% From when on it may be asked again, in monotonic milliseconds; 0 when all is well.
    rests :: atomics:atomics_ref()
}).

-opaque link() :: #link{}.
-type command() :: [iodata()].
-type answer() :: {ok, undefined | binary() | list()} | {error, binary()}.

-record(state, {sup :: pid(), options :: map(), client = none :: none | pid(), failures = 0 :: non_neg_integer()}).

%% Milliseconds between two tries to connect, which eredis makes, and for one of them.
-define(RECONNECT, 500).
-define(CONNECT, 2_000).

%% @doc Whether eredis is there.
-spec available() -> ok | {error, pitcrew_error:t()}.
available() ->
    case code:ensure_loaded(eredis) of
        {module, _} ->
            ok;
        {error, _} ->
            Message = "the backend redis needs the application eredis (Debian: erlang-redis-client; Hex: eredis), which is not there",
            {error, pitcrew_error:new(start_error, Message)}
    end.

-spec new(map()) -> link().
new(#{timeout := Timeout, retry_after := RetryAfter}) ->
    #link{timeout = Timeout, retry_after = RetryAfter, rests = atomics:new(1, [])}.

-spec child_spec(pid(), map()) -> supervisor:child_spec().
child_spec(Sup, Options) -> #{id => redis, start => {?MODULE, start_link, [Sup, Options]}}.

-spec start_link(pid(), map()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> gen_server:start_link(?MODULE, {Sup, Options}, []).

%% ---- For callers

%% @doc The answers to some commands, or that there is nobody to answer.
-spec ask(pid(), link(), [command()]) -> [answer()] | unreachable.
ask(Sup, #link{rests = Rests, retry_after = RetryAfter} = Link, Commands) ->
    Now = erlang:monotonic_time(millisecond),
    case atomics:get(Rests, 1) of
        0 ->
            insist(Sup, Link, Commands);
        Until when Until > Now ->
            unreachable;
        Until ->
            case atomics:compare_exchange(Rests, 1, Until, not_zero(Now + RetryAfter)) of
                ok -> insist(Sup, Link, Commands);
                _ -> unreachable
            end
    end.

%% @doc The same, whatever the last ones who asked have found.
-spec insist(pid(), link(), [command()]) -> [answer()] | unreachable.
insist(Sup, #link{timeout = Timeout} = Link, Commands) ->
    try apply(eredis, qp, [pitcrew_pools:member(Sup, redis), Commands, Timeout]) of
        Answers when is_list(Answers) -> answered(Link, Answers);
        {error, _} -> failed(Link)
    catch
        exit:_ -> failed(Link);
        %% The pool has ended.
        error:badarg -> unreachable
    end.

%% One that is loading its data, or wants a password, answers everything alike.
answered(Link, Answers) ->
    case lists:all(fun({Sort, _}) -> Sort =:= error end, Answers) of
        true -> failed(Link);
        false -> well(Link, Answers)
    end.

well(#link{rests = Rests}, Answers) ->
    _ = [atomics:put(Rests, 1, 0) || atomics:get(Rests, 1) =/= 0],
    Answers.

failed(#link{rests = Rests, retry_after = RetryAfter}) ->
    ok = atomics:put(Rests, 1, not_zero(erlang:monotonic_time(millisecond) + RetryAfter)),
    unreachable.

not_zero(0) -> 1;
not_zero(Time) -> Time.

%% ---- The process: it starts eredis, and again whenever that ends

-spec init({pid(), map()}) -> {ok, #state{}, {continue, connect}}.
init({Sup, Options}) ->
    process_flag(trap_exit, true),
    {ok, #state{sup = Sup, options = Options}, {continue, connect}}.

handle_continue(connect, State) -> {noreply, connect(State)}.

handle_call(_, _, State) -> {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({'EXIT', Client, _}, #state{client = Client, failures = Failures} = State) ->
    _ = erlang:start_timer(pitcrew_backoff:delay(Failures + 1), self(), connect),
    {noreply, State#state{client = none, failures = Failures + 1}};
handle_info({timeout, _, connect}, #state{client = none} = State) ->
    {noreply, connect(State)};
handle_info(_, State) ->
    {noreply, State}.

%% It connects by itself, now and whenever the connection is lost, and refuses to be asked meanwhile.
connect(#state{sup = Sup, options = #{host := Host, port := Port, database := Database, password := Password}} = State) ->
    Args = [unicode:characters_to_list(Host), Port, Database, binary_to_list(Password()), ?RECONNECT, ?CONNECT],
    {ok, Client} = apply(eredis, start_link, Args),
    ok = pitcrew_pools:join(Sup, redis, Client),
    State#state{client = Client}.

terminate(_, #state{client = none}) -> ok;
terminate(_, #state{client = Client}) ->
    unlink(Client),
    exit(Client, kill),
    ok.
