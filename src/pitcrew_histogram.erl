%% Histograms of times in native units, as HdrHistogram has them: sixteen buckets for each power of two, so that whatever is read is at most a
%% sixteenth too large. Counted in native atomics, without a lock; read without stopping anybody.
%%
%% The first bucket is for all up to a microsecond, the last for more than an hour. A value belongs to the bucket with the least upper bound that is not
%% below it.
-module(pitcrew_histogram).

-export([new/0, count/2, read/1, merge/2, total/1, quantile/2, below/2]).
-export_type([counts/0, histogram/0]).

-opaque histogram() :: counters:counters_ref().
%% What there is in each bucket that has something, the shortest times first.
-type counts() :: [{bucket(), pos_integer()}].
-type bucket() :: 1..513.

-define(LEAST, 10).
-define(MOST, 42).
-define(PARTS, 4).
-define(BUCKETS, (1 + ((?MOST - ?LEAST) bsl ?PARTS))).

-spec new() -> histogram().
new() -> counters:new(?BUCKETS, []).

-spec count(integer(), histogram()) -> ok.
count(Value, Histogram) -> counters:add(Histogram, bucket(Value), 1).

bucket(Value) when Value =< 1 bsl ?LEAST -> 1;
bucket(Value) when Value > 1 bsl ?MOST -> ?BUCKETS;
bucket(Value) ->
    Before = Value - 1,
    Exponent = exponent(Before),
    %% The first digit is always 1, and the next ones say which part.
    2 + ((Exponent - ?LEAST - 1) bsl ?PARTS) + (Before bsr (Exponent - ?PARTS)).

%% Of the highest bit, below 64.
exponent(N) when N >= 1 bsl 32 -> 32 + exponent16(N bsr 32);
exponent(N) -> exponent16(N).
exponent16(N) when N >= 1 bsl 16 -> 16 + exponent8(N bsr 16);
exponent16(N) -> exponent8(N).
exponent8(N) when N >= 1 bsl 8 -> 8 + exponent4(N bsr 8);
exponent8(N) -> exponent4(N).
exponent4(N) when N >= 16 -> 4 + exponent2(N bsr 4);
exponent4(N) -> exponent2(N).
exponent2(N) when N >= 8 -> 3;
exponent2(N) when N >= 4 -> 2;
exponent2(N) when N >= 2 -> 1;
exponent2(_) -> 0.

%% The largest value that belongs to a bucket.
upper(1) ->
    1 bsl ?LEAST;
upper(Bucket) ->
    Exponent = ?LEAST + ((Bucket - 2) bsr ?PARTS),
    Part = (Bucket - 2) band ((1 bsl ?PARTS) - 1),
    ((1 bsl ?PARTS) + Part + 1) bsl (Exponent - ?PARTS).

-spec read(histogram()) -> counts().
read(Histogram) -> [{Bucket, N} || Bucket <- lists:seq(1, ?BUCKETS), N <- [counters:get(Histogram, Bucket)], N > 0].

-spec merge(counts(), counts()) -> counts().
merge([{Bucket, N} | Rest], [{Bucket, M} | Others]) -> [{Bucket, N + M} | merge(Rest, Others)];
merge([{Bucket, _} = First | Rest], [{Other, _} | _] = Others) when Bucket < Other -> [First | merge(Rest, Others)];
merge([_ | _] = Counts, [First | Others]) -> [First | merge(Counts, Others)];
merge(Counts, []) -> Counts;
merge([], Counts) -> Counts.

-spec total(counts()) -> non_neg_integer().
total(Counts) -> lists:sum([N || {_, N} <- Counts]).

%% @doc A time that the given share of all does not exceed, from 0 to 1; `none' of nothing.
-spec quantile(float(), counts()) -> pos_integer() | none.
quantile(_, []) -> none;
quantile(Share, Counts) -> value_at(max(1, ceil(Share * total(Counts))), Counts).

value_at(Rank, [{Bucket, N} | _]) when Rank =< N -> upper(Bucket);
value_at(Rank, [{_, N} | Rest]) -> value_at(Rank - N, Rest).

%% @doc How many were at most two to this power: exactly, for that is where a bucket ends.
-spec below(Power :: 10..42, counts()) -> non_neg_integer().
below(Power, Counts) -> lists:sum([N || {Bucket, N} <- Counts, upper(Bucket) =< 1 bsl Power]).
