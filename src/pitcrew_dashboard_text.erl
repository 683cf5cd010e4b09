%% Numbers of the dashboard as people read them: text in UTF-8, which a terminal takes, and a web page. `nil' is for what nobody knows.
-module(pitcrew_dashboard_text).

-export([of_all/2, number/1, percent/1, bytes/1, ms/1, age/1]).

%% @doc So many of all.
-spec of_all(integer(), integer()) -> binary().
of_all(N, All) -> text("~b/~b", [N, All]).

-spec number(number() | nil) -> binary().
number(nil) -> <<"-">>;
number(N) when is_integer(N) -> integer_to_binary(N);
number(F) when F < 10 -> text("~.1f", [F]);
number(F) -> integer_to_binary(round(F)).

-spec percent(number() | nil) -> binary().
percent(nil) -> <<"-">>;
percent(Share) -> text("~b %", [round(100 * Share)]).

-spec bytes(non_neg_integer() | nil) -> binary().
bytes(nil) -> <<"-">>;
bytes(N) -> text("~.1f MiB", [N / 1048576]).

%% @doc Milliseconds.
-spec ms(number() | nil) -> binary().
ms(nil) -> <<"-">>;
ms(Ms) when Ms < 1 -> text("~b µs", [round(1000 * Ms)]);
ms(Ms) when Ms < 1000 -> text("~.1f ms", [float(Ms)]);
ms(Ms) -> text("~.1f s", [Ms / 1000]).

%% @doc Seconds.
-spec age(number() | nil) -> binary().
age(nil) -> <<"-">>;
age(Seconds) when Seconds < 120 -> text("~b s", [trunc(Seconds)]);
age(Seconds) when Seconds < 7200 -> text("~b min", [trunc(Seconds) div 60]);
age(Seconds) -> text("~b h", [trunc(Seconds) div 3600]).

text(Format, Args) -> unicode:characters_to_binary(io_lib:format(Format, Args)).
