-module(pitcrew_options_tests).
-include_lib("eunit/include/eunit.hrl").

message(Result) ->
    {error, #{kind := invalid_option, message := Message}} = Result,
    Message.

has(Text, Message) -> ?assertMatch({_, _}, binary:match(Message, unicode:characters_to_binary(Text))).

defaults_are_filled_in_test() ->
    Unlimited = #{},
    {ok, Options} = pitcrew_options:pool([{name, py}]),
    ?assertEqual(lists:sort(pitcrew_options:names(pool)), lists:sort(maps:keys(Options))),
    ?assertMatch(
        #{
            name := py,
            tools := [],
            env := #{},
            cd := nil,
            timeout := 30000,
            checkout_timeout := 5000,
            start_timeout := 30000,
            retry := 0,
            start := auto,
            grace := 300,
            thread_limits := 1,
            rlimits := Unlimited,
            nice := 0,
            log_level := info,
            heartbeat := 1000,
            max_rss := infinity,
            gc_interval := infinity,
            gc_freeze := false,
            vitals_interval := 10_000,
            gc_pauses := none,
            preload := [],
            telemetry_prefix := [pitcrew],
            protocol := msgpack,
            binaries := str,
            bytes := plain,
            nil := nil,
            keys := dict
        },
        Options
    ),
    ?assertEqual(erlang:system_info(schedulers_online), maps:get(size, Options)).

texts_arrive_in_one_form_test() ->
    {ok, Options} = pitcrew_options:pool(#{
        name => py,
        tools => ["one", <<"two">>, three],
        python => ".venv/bin/python",
        pool_size => 3,
        env => [{"A", "1"}, {<<"B">>, nil}, {c, false}, {"D", ""}],
        cd => "/tmp"
    }),
    ?assertMatch(
        #{
            tools := [<<"one">>, <<"two">>, <<"three">>],
            python := <<".venv/bin/python">>,
            size := 3,
            env := #{<<"A">> := <<"1">>, <<"B">> := nil, <<"c">> := nil, <<"D">> := <<>>},
            cd := <<"/tmp">>
        },
        Options
    ).

the_default_interpreter_comes_from_the_environment_test() ->
    Before = os:getenv("PITCREW_PYTHON"),
    try
        os:putenv("PITCREW_PYTHON", "/opt/py/bin/python"),
        ?assertMatch({ok, #{python := <<"/opt/py/bin/python">>}}, pitcrew_options:pool([{name, py}])),
        os:unsetenv("PITCREW_PYTHON"),
        ?assertMatch({ok, #{python := <<"python3">>}}, pitcrew_options:pool([{name, py}]))
    after
        case Before of
            false -> os:unsetenv("PITCREW_PYTHON");
            Value -> os:putenv("PITCREW_PYTHON", Value)
        end
    end.

the_name_is_required_test() ->
    has("option name is required", message(pitcrew_options:pool([]))),
    has("option name must be an atom", message(pitcrew_options:pool(#{name => "py"}))).

unknown_options_are_answered_with_the_nearest_one_test() ->
    Message = message(pitcrew_options:pool([{name, py}, {checkout_timout, 5}])),
    has("unknown option checkout_timout", Message),
    has("did you mean checkout_timeout?", Message),
    has("thread_limits", Message),
    has("the name is an atom: size", message(pitcrew_options:pool([{name, py}, {<<"size">>, 5}]))),
    Far = message(pitcrew_options:pool([{name, py}, {colour_of_the_sky, blue}])),
    ?assertEqual(nomatch, binary:match(Far, <<"did you mean">>)).

what_is_wrong_says_what_was_given_and_what_is_allowed_test_() ->
    Wrong = [
        {size, 0, ["option size", "an integer from 1 to 65536", "given was 0"]},
        {pool_size, many, ["option pool_size", "given was many"]},
        {timeout, -1, ["milliseconds or infinity", "given was -1"]},
        {start, thread, ["one of auto, fork, spawn", "given was thread"]},
        {tools, "my_tools", ["list of names of Python modules", "write [\"my_tools\"]"]},
        {tools, <<"my_tools">>, ["list of names", "given was <<\"my_tools\">>"]},
        {tools, [1], ["list of names"]},
        {python, "", ["a text", "given was []"]},
        {python, <<"a", 0, "b">>, ["a text"]},
        {env, [{"A=B", "1"}], ["cannot be the name of a variable"]},
        {env, #{"A" => 1}, ["the value of \"A\" was 1"]},
        {env, [a], ["pairs from names to texts"]},
        {telemetry_prefix, [], ["a list of atoms"]},
        {telemetry_prefix, [<<"a">>], ["a list of atoms"]},
        {retry, 1.5, ["an integer from 0 to 1000"]},
        {thread_limits, 0, ["an integer from 1 to 4096, or none"]},
        {binaries, text, ["one of str, bytes"]},
        {nil, null, ["one of nil, undefined"]},
        {keys, string, ["one of dict, strict", "given was string"]},
        {preload, "numpy", ["list of names of Python modules", "write [\"numpy\"]"]},
        {heartbeat, 0, ["an integer from 10 to 3600000, or infinity", "given was 0"]},
        {vitals_interval, 5, ["an integer from 10 to", "or infinity", "given was 5"]},
        {gc_pauses, -1, ["an integer from 0 to", "or none", "given was -1"]},
        {max_rss, 5, ["an integer from 1048576 to", "or infinity", "given was 5"]},
        {gc_interval, 5, ["an integer from 100 to 86400000, or infinity", "given was 5"]},
        {gc_freeze, yes, ["one of false, true", "given was yes"]},
        {log_level, verbose, ["one of debug, info, notice, warning, error, critical, none", "given was verbose"]},
        {nice, -1, ["an integer from 0 to 19", "given was -1"]},
        {rlimits, 5, ["option rlimits must be a map or a list of pairs with some of address_space, cpu, files", "given was 5"]},
        {rlimits, [{adress_space, 5}], ["in option rlimits: unknown option adress_space", "did you mean address_space?"]},
        {rlimits, #{files => 3}, ["in option rlimits: option files must be an integer from 32 to", "given was 3"]},
        {rlimits, [{cpu, 1}, {cpu, 2}], ["in option rlimits: option cpu is given twice"]}
    ],
    [
        {atom_to_list(Name), fun() ->
            Message = message(pitcrew_options:pool([{name, py}, {Name, Value}])),
            lists:foreach(fun(Text) -> has(Text, Message) end, Texts)
        end}
     || {Name, Value, Texts} <- Wrong
    ].

limits_arrive_in_one_form_test() ->
    Given = fun(Limits) ->
        {ok, #{rlimits := Clean}} = pitcrew_options:pool([{name, py}, {rlimits, Limits}]),
        Clean
    end,
    ?assertEqual(#{cpu => 5, files => 64}, Given([{files, 64}, {cpu, 5}])),
    ?assertEqual(#{address_space => 16#100000}, Given(#{address_space => 16#100000})),
    ?assertEqual(#{}, Given([])).

options_are_pairs_and_come_once_test() ->
    has("given twice", message(pitcrew_options:pool([{name, py}, {size, 1}, {pool_size, 1}]))),
    has("a map or a list of pairs", message(pitcrew_options:pool(py))),
    has("a map or a list of pairs", message(pitcrew_options:pool([{name, py} | oops]))),
    has("pairs of a name and a value", message(pitcrew_options:pool([{name, py}, {size, 1, 2}]))).

options_of_a_call_lie_over_those_of_the_pool_test() ->
    Defaults = #{
        timeout => 30000, checkout_timeout => 5000, retry => 0, protocol => msgpack, codec => #{binaries => str, nil => nil}, meta => nil
    },
    ?assertEqual({ok, Defaults}, pitcrew_options:call([], Defaults)),
    ?assertEqual({ok, Defaults}, pitcrew_options:call(#{}, Defaults)),
    ?assertEqual(
        {ok, Defaults#{timeout := 5, codec := #{binaries => bytes, nil => nil}}},
        pitcrew_options:call([{timeout, 5}, {binaries, bytes}], Defaults)
    ),
    Strict = Defaults#{meta := #{keys => strict}},
    ?assertEqual({ok, Strict}, pitcrew_options:call([{keys, strict}], Defaults)),
    ?assertEqual({ok, Strict#{timeout := 5}}, pitcrew_options:call([{timeout, 5}], Strict)),
    ?assertEqual({ok, Defaults}, pitcrew_options:call([{keys, dict}], Strict)),
    Message = message(pitcrew_options:call(#{timout => 5}, Defaults)),
    has("did you mean timeout?", Message),
    ?assertEqual(nomatch, binary:match(Message, <<"runtime_dir">>)).

the_protocol_is_resolved_test() ->
    Pool = fun(Options) -> pitcrew_options:pool([{name, py} | Options]) end,
    ?assertMatch({ok, #{protocol := msgpack}}, Pool([{protocol, auto}])),
    ?assertMatch({ok, #{protocol := json}}, Pool([{protocol, json}, {binaries, str}, {bytes, plain}])),
    has("option protocol must be one of msgpack, json, auto; given was xml", message(Pool([{protocol, xml}]))),
    {ok, Json} = Pool([{protocol, json}]),
    Defaults = pitcrew_options:defaults(Json),
    ?assertMatch({ok, #{protocol := json}}, pitcrew_options:call([{timeout, 5}], Defaults)),
    ?assertMatch({ok, #{protocol := msgpack}}, pitcrew_options:call([{protocol, auto}], Defaults)).

%% What JSON has no use for would be ignored, whether it is given or taken over from the pool.
the_protocol_json_agrees_with_the_other_options_test() ->
    Pool = fun(Options) -> pitcrew_options:pool([{name, py}, {protocol, json} | Options]) end,
    has("option binaries must be str with the protocol json, which carries no bytes; it is bytes", message(Pool([{binaries, bytes}]))),
    has("option bytes must be plain with the protocol json", message(Pool([{bytes, tagged}]))),
    has("option keys must be dict with the protocol json, which has no keys but texts", message(Pool([{keys, strict}]))),
    {ok, Packed} = pitcrew_options:pool([{name, py}, {binaries, bytes}, {keys, strict}]),
    Call = fun(Options) -> pitcrew_options:call([{protocol, json} | Options], pitcrew_options:defaults(Packed)) end,
    has("it is bytes", message(Call([]))),
    has("it is strict", message(Call([{binaries, str}]))),
    ?assertMatch({ok, #{protocol := json, codec := #{binaries := str}, meta := nil}}, Call([{binaries, str}, {keys, dict}])).
