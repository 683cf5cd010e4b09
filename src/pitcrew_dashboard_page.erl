%% The files of the page, which are read once: no request ever names a file.
-module(pitcrew_dashboard_page).

-export([files/0, sign_in/0]).
-export_type([files/0]).

-type files() :: #{Path :: binary() => {Type :: string(), binary()}}.

-spec files() -> files().
files() ->
    Folder = filename:join(code:priv_dir(pitcrew), "dashboard"),
    maps:from_list([{Path, {Type, read(filename:join(Folder, Name))}} || {Path, Name, Type} <- names()]).

names() ->
    [
        {<<"/">>, "index.html", "text/html; charset=utf-8"},
        {<<"/dashboard.css">>, "dashboard.css", "text/css; charset=utf-8"},
        {<<"/dashboard.js">>, "dashboard.js", "text/javascript; charset=utf-8"},
        {<<"/charts.js">>, "charts.js", "text/javascript; charset=utf-8"},
        {<<"/icon.svg">>, "icon.svg", "image/svg+xml"}
    ].

read(File) ->
    {ok, Text} = file:read_file(File),
    Text.

%% @doc What a browser without the token is shown.
-spec sign_in() -> iodata().
sign_in() ->
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>Pitcrew</title>"
    "<h1>Pitcrew</h1><p>Open the address that the log has, or give the token:</p>"
    "<form method=get action=\"/\"><label>Token <input type=password name=token autocomplete=off></label> <button>Open</button></form></html>\n".
