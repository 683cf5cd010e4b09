%% JSON when memory runs out, and jansson's memory counted block by block: in a VM where test/fixtures/json_faults.c has taken
%% over jansson's memory functions.
-module(pitcrew_json_faults_tests).

-include_lib("eunit/include/eunit.hrl").

-export([faults/1, live/0, allow/1]).

faults_test_() ->
    {timeout, 120, fun() ->
        Base = filename:join("/tmp", "pitcrew-json-faults-" ++ os:getpid()),
        ok = filelib:ensure_dir(filename:join(Base, "x")),
        try
            Library = compile(Base),
            Paths = [filename:dirname(code:which(Module)) || Module <- [pitcrew_json, ?MODULE]],
            {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa" | Paths]}),
            try ?assertEqual(ok, peer:call(Peer, ?MODULE, faults, [Library], 100_000))
            after peer:stop(Peer)
            end
        after
            file:del_dir_r(Base)
        end
    end}.

compile(Base) ->
    Library = filename:join(Base, "json_faults"),
    Include = filename:join([code:root_dir(), "usr", "include"]),
    Source = filename:join(pitcrew_test:fixtures(), "json_faults.c"),
    Command = io_lib:format("cc -std=c11 -Wall -Werror -shared -fPIC -I~ts -o ~ts.so ~ts -ljansson 2>&1", [Include, Library, Source]),
    ?assertEqual("", os:cmd(lists:flatten(Command))),
    Library.

live() -> erlang:nif_error(not_loaded).
allow(_) -> erlang:nif_error(not_loaded).

%% ---- in the other VM

faults(Library) ->
    ok = erlang:load_nif(Library, 0),
    [begin
         every_failure(fun() -> pitcrew_json:encode(Term) end),
         every_failure(fun() -> pitcrew_json:encode(Term, [{indent, 2}, {sort_keys, true}]) end),
         {ok, Text} = pitcrew_json:encode(Term),
         every_failure(fun() -> pitcrew_json:decode(Text) end),
         every_failure(fun() -> pitcrew_json:decode(Text, [{duplicate_keys, error}]) end)
     end || Term <- terms()],
    refused = first_result(fun() -> pitcrew_json:encode([1]) end),
    refused = first_result(fun() -> pitcrew_json:decode(<<"[1]">>) end),
    [nothing_stays(Fun) || Fun <- errors()],
    ok.

%% No number of more than 15 characters: jansson ends the process when it runs out of memory within one.
terms() ->
    [
        1, 1.5, <<"text">>, nil, atom, [], #{}, [1, 2.5, <<"x">>, true], #{<<"a">> => #{b => [1, #{}]}},
        lists:seq(1, 30), maps:from_list([{integer_to_binary(N), [N]} || N <- lists:seq(1, 20)]), binary:copy(<<"é"/utf8>>, 2000)
    ].

%% Refuses the first block, then the second and so on, until the work is done without one being refused.
every_failure(Fun) -> every_failure(Fun, 0).

every_failure(Fun, N) ->
    ok = allow(N),
    Result = Fun(),
    ok = allow(-1),
    0 = live(),
    case Result of
        {ok, _} -> ok;
        {error, #{kind := encode_error, message := <<"out of memory">>}} -> every_failure(Fun, N + 1);
        %% jansson says for some blocks that it does not understand the text.
        {error, #{kind := decode_error}} -> every_failure(Fun, N + 1)
    end.

%% That blocks are refused at all.
first_result(Fun) ->
    ok = allow(0),
    Result = Fun(),
    ok = allow(-1),
    case Result of
        {error, _} -> refused;
        {ok, _} -> done
    end.

%% Whatever is refused, however far it got.
errors() ->
    Large = lists:seq(1, 50000),
    [
        fun() -> pitcrew_json:encode([1, #{a => [<<"x">>, {}]}]) end,
        fun() -> pitcrew_json:encode(#{<<"a">> => [1], a => [2]}) end,
        fun() -> pitcrew_json:encode([#{1 => [1]}]) end,
        fun() -> pitcrew_json:encode([Large, {}]) end,
        fun() -> pitcrew_json:encode([1 | 2]) end,
        fun() -> pitcrew_json:encode([<<255>>]) end,
        fun() -> pitcrew_json:encode(#{<<"a">> => <<255>>, <<"b">> => [1]}) end,
        fun() -> pitcrew_json:encode(binary:copy(<<1>>, 50000)) end,
        fun() -> pitcrew_json:decode(<<"[1,{\"a\":[1,2,}]">>) end,
        fun() -> pitcrew_json:decode(<<"{\"a\":1,\"a\":2}">>, [{duplicate_keys, error}]) end,
        fun() -> pitcrew_json:decode(<<"[99999999999999999999,\"\\ud800\"]">>, [{big_integers, float}]) end,
        fun() -> pitcrew_json:decode(binary:copy(<<"[">>, 1000)) end
    ] ++ [fun() -> pitcrew_json:decode(Text) end || Text <- pitcrew_json_vectors:bad()]
      ++ [fun() -> pitcrew_json:decode(Text) end || {Text, _} <- pitcrew_json_vectors:good()].

nothing_stays(Fun) ->
    {Tag, _} = Fun(),
    true = lists:member(Tag, [ok, error]),
    0 = live().
