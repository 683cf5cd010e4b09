%% Numbers of the dashboard as people read them, in a terminal. `nil' is for what nobody knows.
-module(pitcrew_dashboard_text).

-export([of_all/2, number/1, percent/1, bytes/1, ms/1, age/1]).

%% @doc So many of all.
-spec of_all(integer(), integer()) -> iolist().
of_all(N, All) -> io_lib:format("~b/~b", [N, All]).

-spec number(number() | nil) -> unicode:chardata().
number(nil) -> "-";
number(N) when is_integer(N) -> integer_to_list(N);
number(F) when F < 10 -> io_lib:format("~.1f", [F]);
number(F) -> integer_to_list(round(F)).

-spec percent(number() | nil) -> unicode:chardata().
percent(nil) -> "-";
percent(Share) -> io_lib:format("~b %", [round(100 * Share)]).

-spec bytes(non_neg_integer() | nil) -> unicode:chardata().
bytes(nil) -> "-";
bytes(N) -> io_lib:format("~.1f MiB", [N / 1048576]).

%% @doc Milliseconds.
-spec ms(number() | nil) -> unicode:chardata().
ms(nil) -> "-";
ms(Ms) when Ms < 1 -> io_lib:format("~b µs", [round(1000 * Ms)]);
ms(Ms) when Ms < 1000 -> io_lib:format("~.1f ms", [float(Ms)]);
ms(Ms) -> io_lib:format("~.1f s", [Ms / 1000]).

%% @doc Seconds.
-spec age(number() | nil) -> unicode:chardata().
age(nil) -> "-";
age(Seconds) when Seconds < 120 -> io_lib:format("~b s", [trunc(Seconds)]);
age(Seconds) when Seconds < 7200 -> io_lib:format("~b min", [trunc(Seconds) div 60]);
age(Seconds) -> io_lib:format("~b h", [trunc(Seconds) div 3600]).
