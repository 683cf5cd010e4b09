%% What cProfile has counted in several workers, as one: the sums, a table, and a file for Python's pstats, which is the marshal of a dict.
-module(pitcrew_profile_stats).

-export([merge/1, top/3, marshal/1]).
-export_type([stats/0, row/0]).

-type place() :: {File :: binary(), Line :: integer(), Name :: binary()}.
%% Primitive calls, which are not recursions; all calls; seconds in it; seconds in it and in what it calls.
-type counts() :: {integer(), integer(), float(), float()}.
-opaque stats() :: #{place() => {counts(), Callers :: #{place() => counts()}}}.
-type row() :: #{
    function := binary(),
    file := binary(),
    line := integer(),
    calls := integer(),
    primitive_calls := integer(),
    own_us := non_neg_integer(),
    total_us := non_neg_integer()
}.

%% @doc Lists of rows as python/pitcrew/profiler.py gives them, each from one thread of one worker.
-spec merge([[list()]]) -> stats().
merge(Lists) -> lists:foldl(fun add_all/2, #{}, Lists).

add_all(Rows, Stats) ->
    Names = list_to_tuple([{File, Line, Name} || [File, Line, Name | _] <- Rows]),
    lists:foldl(fun(Row, Sum) -> add_row(Row, Names, Sum) end, Stats, Rows).

add_row([File, Line, Name, Primitive, Calls, Own, Total, Callers], Names, Stats) ->
    {Before, Known} = maps:get({File, Line, Name}, Stats, {{0, 0, 0.0, 0.0}, #{}}),
    Called = lists:foldl(fun(Caller, Sum) -> add_caller(Caller, Names, Sum) end, Known, Callers),
    Stats#{{File, Line, Name} => {plus(Before, {Primitive, Calls, Own, Total}), Called}}.

add_caller([Index, Primitive, Calls, Own, Total], Names, Sum) ->
    Caller = element(Index + 1, Names),
    Sum#{Caller => plus(maps:get(Caller, Sum, {0, 0, 0.0, 0.0}), {Primitive, Calls, Own, Total})}.

plus({A, B, C, D}, {E, F, G, H}) -> {A + E, B + F, C + G, D + H}.

%% @doc The functions that take the most time, themselves or with all that they call.
-spec top(own | total, pos_integer(), stats()) -> [row()].
top(Sort, Most, Stats) ->
    Sorted = lists:sort([{-time(Sort, Counts), Function, Counts} || {Function, {Counts, _}} <- maps:to_list(Stats)]),
    [
        #{
            function => Name,
            file => File,
            line => Line,
            calls => Calls,
            primitive_calls => Primitive,
            own_us => round(Own * 1.0e6),
            total_us => round(Total * 1.0e6)
        }
     || {_, {File, Line, Name}, {Primitive, Calls, Own, Total}} <- lists:sublist(Sorted, Most)
    ].

time(own, {_, _, Own, _}) -> Own;
time(total, {_, _, _, Total}) -> Total.

%% @doc As cProfile's `dump_stats' writes it. In the table of callers pstats has all calls before the primitive ones.
-spec marshal(stats()) -> binary().
marshal(Stats) ->
    iolist_to_binary([${, [[key(Function), entry(Counts, Callers)] || {Function, {Counts, Callers}} <- lists:sort(maps:to_list(Stats))], $0]).

key({File, Line, Name}) -> tuple([text(File), int(Line), text(Name)]).

entry({Primitive, Calls, Own, Total}, Callers) ->
    Called = [[key(Caller), tuple([int(N), int(P), float64(O), float64(T)])] || {Caller, {P, N, O, T}} <- lists:sort(maps:to_list(Callers))],
    tuple([int(Primitive), int(Calls), float64(Own), float64(Total), [${, Called, $0]]).

%% Types of Python's marshal that every version reads; integers beyond 32 bits are digits of 15.
tuple(Items) -> [$(, <<(length(Items)):32/little>> | Items].
text(Text) -> [$u, <<(byte_size(Text)):32/little>>, Text].
float64(Number) -> [$g, <<(float(Number)):64/float-little>>].

int(N) when N >= -16#80000000, N < 16#80000000 -> [$i, <<N:32/little-signed>>];
int(N) when N > 0 ->
    Digits = digits(N),
    [$l, <<(length(Digits)):32/little>> | [<<Digit:16/little>> || Digit <- Digits]].

digits(0) -> [];
digits(N) -> [N band 16#7fff | digits(N bsr 15)].
