%% The types that travel as extensions: sets, dates and times, decimals, tensors, Arrow, and terms that only this VM has.
-module(pitcrew_codec_types_tests).

-include_lib("eunit/include/eunit.hrl").

encode(Term) ->
    {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
    Bytes.

decode(Bytes) ->
    {ok, Term} = pitcrew_nif:decode(Bytes, #{}),
    Term.

returns(Term) -> ?assertEqual(Term, decode(encode(Term))).

refused(Term) ->
    {error, #{kind := encode_error, message := Message, path := Path} = Error} = pitcrew_nif:encode(Term, #{}),
    ?assertNot(is_map_key(struct, Error)),
    {Path, Message}.

unreadable(Bytes) ->
    {error, #{kind := decode_error, message := Message, path := Path}} = pitcrew_nif:decode(Bytes, #{}),
    {Path, Message}.

says(Message, Text) -> ?assertMatch({_, _}, binary:match(Message, Text)).

struct(Name, Fields) -> Fields#{'__struct__' => list_to_atom("Elixir." ++ Name)}.
set(Elements) -> struct("MapSet", #{map => maps:from_list([{Element, []} || Element <- Elements]), version => 2}).
date(Y, M, D) -> struct("Date", #{calendar => 'Elixir.Calendar.ISO', year => Y, month => M, day => D}).
time(H, M, S, Fraction) ->
    struct("Time", #{calendar => 'Elixir.Calendar.ISO', hour => H, minute => M, second => S, microsecond => Fraction}).
naive(Date, Time) -> maps:merge(Date, Time#{'__struct__' => 'Elixir.NaiveDateTime'}).
utc(Date, Time) ->
    (naive(Date, Time))#{
        '__struct__' => 'Elixir.DateTime', time_zone => <<"Etc/UTC">>, zone_abbr => <<"UTC">>, utc_offset => 0, std_offset => 0
    }.
decimal(Sign, Coef, Exp) -> struct("Decimal", #{sign => Sign, coef => Coef, exp => Exp}).
tensor(Dtype, Shape, Data) -> struct("Pitcrew.Tensor", #{dtype => Dtype, shape => Shape, data => Data}).
arrow(Data) -> struct("Pitcrew.Arrow", #{data => Data}).
some_date() -> date(2024, 2, 29).
some_time() -> time(12, 30, 15, {120000, 6}).

%% ---- Sets

sets_of_any_size_test() ->
    [returns(set(lists:seq(1, N))) || N <- [0, 1, 15, 16, 31, 32, 33, 255, 256, 65535, 65536]].

sets_of_anything_test() ->
    returns(set([1, 1.0, a, <<"a">>, [1], {1}, #{a => set([1])}, set([]), self(), some_date(), nil])),
    returns(#{set([1, 2]) => set([set([3])])}).

equal_elements_are_one_test() ->
    [begin
         Bytes = iolist_to_binary([<<16#dd, (2 * N):32>>, [[encode(I), encode(I)] || I <- lists:seq(1, N)]]),
         ?assertEqual(set(lists:seq(1, N)), decode(<<16#c9, (byte_size(Bytes)):32, 4, Bytes/binary>>))
     end || N <- [1, 16, 17, 20, 32, 33, 1000, 40000]].

elements_that_cannot_be_encoded_test() ->
    ?assertMatch({[0], _}, refused([set([1, <<255>>])])),
    ?assertMatch({[0], _}, unreadable(<<16#91, 16#c7, 6, 4, 16#94, 1, 2, 3, 16#a1, 255>>)).

sets_that_are_none_test() ->
    [?assertMatch({[0], _}, refused([Set]))
     || Set <- [(set([]))#{map := [1]}, (set([]))#{more => 1}, maps:remove(map, set([])), maps:remove(version, set([]))]].

%% ---- Dates and times

every_field_counts_test() ->
    [returns(Date) || Date <- [some_date(), date(-9999, 1, 1), date(0, 2, 29), date(9999, 12, 31)]],
    [returns(naive(some_date(), time(0, 0, 0, Fraction))) || Fraction <- fractions()],
    [returns(time(23, 59, 59, Fraction)) || Fraction <- fractions()].

fractions() -> [{Microsecond, Precision} || Microsecond <- [0, 1, 5, 120000, 999999], Precision <- lists:seq(0, 6)].

utc_test() ->
    [returns(utc(Date, time(1, 2, 3, Fraction)))
     || Fraction <- fractions(), Date <- [some_date(), date(1969, 12, 31), date(-9999, 1, 1), date(9999, 12, 31), date(2514, 6, 1)]].

%% Of these alone the timestamp of MessagePack says everything.
timestamps_are_used_when_they_say_all_test() ->
    IsTimestamp = fun(Fraction) -> binary:match(encode(utc(some_date(), time(1, 2, 3, Fraction))), <<255>>) =:= {1, 1} end,
    ?assertEqual([{0, 0} | [{M, 6} || M <- [1, 5, 120000, 999999]]], [Fraction || Fraction <- fractions(), IsTimestamp(Fraction)]).

zones_test() ->
    Local = utc(some_date(), some_time()),
    [returns(Zoned)
     || Zoned <- [
            Local#{time_zone := <<"Europe/Berlin">>, zone_abbr := <<"CEST">>, utc_offset := 3600, std_offset := 3600},
            Local#{zone_abbr := <<"Z">>},
            Local#{utc_offset := 1},
            Local#{std_offset := -1},
            Local#{time_zone := binary:copy(<<"é"/utf8>>, 300)}
        ]].

other_calendars_are_refused_test() ->
    [begin
         {[0], Message} = refused([Struct#{calendar := 'Elixir.Calendar.Holocene'}]),
         says(Message, <<"Calendar.ISO">>)
     end || Struct <- [some_date(), some_time(), naive(some_date(), some_time()), utc(some_date(), some_time())]].

what_does_not_exist_is_refused_test() ->
    Utc = utc(some_date(), some_time()),
    [{[0], _} = refused([Struct])
     || Struct <- [
            date(2023, 2, 29), date(2024, 0, 1), date(2024, 13, 1), date(10000, 1, 1), date(1 bsl 70, 1, 1), date(a, 1, 1), date(1.0, 1, 1),
            time(24, 0, 0, {0, 0}), time(0, 60, 0, {0, 0}), time(0, 0, 60, {0, 0}), time(0, 0, 0, {1000000, 6}), time(0, 0, 0, {0, 7}),
            time(0, 0, 0, 5), time(0, 0, 0, {0}), time(0, 0, 0, {0, 0, 0}), time(-1, 0, 0, {0, 0}),
            naive(date(2023, 2, 29), some_time()), naive(some_date(), time(24, 0, 0, {0, 0})),
            Utc#{month := 13}, Utc#{time_zone := <<255>>}, Utc#{zone_abbr := nil}, Utc#{utc_offset := 1.5}, Utc#{std_offset := 1 bsl 64},
            (some_date())#{more => 1}, maps:remove(day, some_date())
        ]].

nanoseconds_have_no_date_time_test() ->
    {[0], Message} = unreadable(<<16#91, 16#d7, 255, 1:30, 0:34>>),
    says(Message, <<"nanoseconds">>),
    {[], _} = unreadable(<<16#c7, 12, 255, 0:32, (1 bsl 62):64>>),
    ?assertMatch(#{microsecond := {1, 6}, year := 1970}, decode(<<16#d7, 255, 1000:30, 0:34>>)).

%% ---- Decimals, tensors, Arrow

decimals_test() ->
    [returns(decimal(Sign, Coef, Exp))
     || Sign <- [1, -1], Coef <- [0, 1, 127, 128, 1 bsl 63, (1 bsl 64) - 1, 1 bsl 64, 1 bsl 3000, 'NaN', inf], Exp <- [0, -1, 6144, -(1 bsl 63)]],
    [{[0], _} = refused([Decimal])
     || Decimal <- [decimal(0, 1, 1), decimal(1, -1, 0), decimal(1, -(1 bsl 70), 0), decimal(1, nan, 0), decimal(1, 1.0, 0), decimal(1, 1, 1 bsl 64),
                    decimal(1, 1, a), (decimal(1, 1, 1))#{more => 1}]].

tensors_test() ->
    [returns(tensor(Dtype, Shape, Data))
     || Dtype <- [<<"<f8">>, <<"|u1">>, <<"é"/utf8>>], Shape <- [{}, {0}, {2, 3}, {1 bsl 40}, list_to_tuple(lists:duplicate(255, 1))],
        Data <- [<<>>, <<255, 0>>, binary:copy(<<255>>, 100000)]],
    [{[0], _} = refused([Tensor])
     || Tensor <- [tensor(f8, {1}, <<>>), tensor(<<255>>, {1}, <<>>), tensor(<<"f">>, [1], <<>>), tensor(<<"f">>, {-1}, <<>>), tensor(<<"f">>, {a}, <<>>),
                   tensor(<<"f">>, {1}, "a"), tensor(<<"f">>, {1}, <<1:3>>), tensor(<<"f">>, list_to_tuple(lists:duplicate(256, 1)), <<>>)]].

arrow_test() ->
    [returns(arrow(binary:copy(<<255>>, N))) || N <- [0, 1, 255, 256, 65536, 1000000]],
    {[0], _} = refused([arrow(nil)]).

%% ---- Opaque terms

opaque_terms() ->
    Outer = 5,
    [self(), make_ref(), hd(erlang:ports()), fun lists:map/2, fun(X) -> X + Outer end, <<1:1>>, <<"abc", 5:3>>, [1 | 2],
     [1, 2, {self()} | three], [<<255>> | <<"tail">>], [#{'__struct__' => no_such_struct} | x], [[<<255>> | 1], [2 | 3]]].

opaque_terms_come_back_test() ->
    [begin
         returns(Term),
         returns([Term, #{a => {Term, <<"text">>}, Term => [Term]}, Term])
     end || Term <- opaque_terms()],
    returns(opaque_terms()).

%% A failure deep inside an improper list is none, and leaves no trace.
improper_lists_hide_what_is_in_them_test() ->
    Inner = [[[[#{k => [<<255>>]}]]] | x],
    returns([a, Inner, a, lists:duplicate(510, []), Inner]),
    returns(lists:duplicate(1000, Inner)).

large_opaque_terms_test() ->
    Big = lists:seq(1, 200000),
    returns([fun() -> Big end, Big ++ tail, <<0:1000001>>]).

functions_still_run_test() ->
    Fun = decode(encode(fun(X) -> X * 2 end)),
    ?assertEqual(42, Fun(21)).

only_our_own_tags_are_accepted_test() ->
    Bytes = encode(self()),
    Size = byte_size(Bytes),
    Start = Size - 16 - byte_size(term_to_binary(self())),
    [begin
         <<Before:At/binary, Byte, After/binary>> = Bytes,
         {_, Message} = unreadable(<<Before/binary, (Byte bxor (1 bsl Bit)), After/binary>>),
         says(Message, <<"did not issue">>)
     end || At <- lists:seq(Start, Size - 1), Bit <- [0, 7]],
    Forged = term_to_binary({some, pid}),
    [{_, _} = unreadable(<<16#c7, (byte_size(Tag) + byte_size(Forged)), 13, Tag/binary, Forged/binary>>) || Tag <- [<<>>, <<0:128>>, crypto:hash(md5, Forged)]],
    [{_, _} = unreadable(<<16#c8, N:16, 13, 0:N/unit:8>>) || N <- lists:seq(0, 40)].

%% Another VM has another key.
another_vm_does_not_accept_them_test() ->
    Paths = string:join(["-pa '" ++ Path ++ "'" || Path <- [filename:dirname(code:which(pitcrew_nif))]], " "),
    Code = "io:put_chars(binary:encode_hex(element(2, pitcrew_nif:encode(self(), #{})))), halt().",
    Hex = os:cmd("erl -noshell " ++ Paths ++ " -eval '" ++ Code ++ "'"),
    {[], Message} = unreadable(binary:decode_hex(list_to_binary(string:trim(Hex)))),
    says(Message, <<"did not issue">>).

%% ---- Bytes that keep their wrapper

tagged_bytes_test() ->
    Bytes = struct("Pitcrew.Bytes", #{data => <<0, 255>>}),
    [begin
         {ok, Packed} = pitcrew_nif:encode(Term, #{}),
         ?assertEqual({ok, Term}, pitcrew_nif:decode(Packed, #{bytes => tagged}))
     end || Term <- [Bytes, [Bytes, <<"text">>], #{Bytes => Bytes}, Bytes#{data := binary:copy(<<255>>, 5000)}]],
    {ok, Packed} = pitcrew_nif:encode(Bytes, #{}),
    ?assertEqual({ok, <<0, 255>>}, pitcrew_nif:decode(Packed, #{bytes => plain})).

%% ---- Depth and damage

nest(_, 0, Leaf) -> Leaf;
nest(Wrap, N, Leaf) -> Wrap(nest(Wrap, N - 1, Leaf)).

depth_test() ->
    Wrap = fun(Term) -> set([Term]) end,
    returns(nest(Wrap, 512, 1)),
    ?assertMatch({_, <<"nested more than 512", _/binary>>}, refused(nest(Wrap, 513, 1))),
    [returns(nest(Wrap, 512, Leaf)) || Leaf <- [some_date(), utc(some_date(), some_time()), decimal(1, 2, 3), tensor(<<"|u1">>, {1}, <<1>>), self()]],
    Deep = lists:foldl(fun(_, Inner) -> <<16#c9, (byte_size(Inner) + 1):32, 4, 16#91, Inner/binary>> end, <<1>>, lists:seq(1, 513)),
    ?assertMatch({_, <<"nested more than 512", _/binary>>}, unreadable(Deep)).

%% A payload that ends too early is no sign that more input would help.
payloads_never_wait_for_more_test() ->
    [?assertMatch({error, #{path := [0 | _]}}, pitcrew_nif:decode_all(Bytes, #{}))
     || {_, Bytes, _} <- pitcrew_codec_vectors:bad(), starts_with_ext(Bytes), {error, _} <- [pitcrew_nif:decode(<<Bytes/binary, 0:800>>, #{})], whole(Bytes)].

starts_with_ext(<<Head, _/binary>>) -> Head >= 16#c7 andalso Head =< 16#c9 orelse Head >= 16#d4 andalso Head =< 16#d8;
starts_with_ext(<<>>) -> false.

whole(<<16#c7, N, _, Rest/binary>>) -> byte_size(Rest) >= N;
whole(<<16#c8, N:16, _, Rest/binary>>) -> byte_size(Rest) >= N;
whole(<<16#c9, N:32, _, Rest/binary>>) -> byte_size(Rest) >= N;
whole(<<Head, _, Rest/binary>>) when Head >= 16#d4 -> byte_size(Rest) >= 1 bsl (Head - 16#d4);
whole(_) -> false.

costly_extensions_move_to_another_scheduler_test() ->
    [returns(lists:duplicate(3000, Term)) || Term <- [set([1]), some_date(), utc(some_date(), some_time()), decimal(1, 1 bsl 100, 0), self()]],
    returns(set(lists:seq(1, 100000))).
