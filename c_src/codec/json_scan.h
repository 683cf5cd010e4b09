#ifndef PC_CODEC_JSON_SCAN_H
#define PC_CODEC_JSON_SCAN_H

/*
 * What must be known of a JSON text before a parser reads it: jansson in the VM, Python's own in a worker. Nothing here judges
 * whether the text is valid; on text that is not, the answers hold up to the place where the parser stops.
 */

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether the containers nest at most `most` deep. If not, *position is the number of bytes up to and with the bracket that
 * is one too many. jansson's parser recurses up to 2048 levels, more than the stack of a dirty scheduler may hold.
 */
bool pc_json_depth_within(const char *text, size_t n, unsigned most, size_t *position);

/*
 * Whether every escape of half a surrogate pair ("\ud800") is next to its other half. If not, *position is the number of bytes
 * up to and with the escape that is alone. Python's parser makes a str of it that has no form in UTF-8; jansson refuses it.
 */
bool pc_json_surrogates_paired(const char *text, size_t n, size_t *position);

/*
 * The end of the next integer that does not fit 64 bits, as an offset; 0 if there is none. `from` is 0 or an end that this
 * function returned.
 */
size_t pc_json_next_big(const char *text, size_t n, size_t from);

/* How many such integers there are. */
size_t pc_json_count_big(const char *text, size_t n);

/* Copies the text with ".0" after each of them, which makes them floats. `out` has room for n + 2 * count bytes. */
void pc_json_widen(const char *text, size_t n, char *out);

/* Where in the text a position of the copy is. */
size_t pc_json_narrow(const char *text, size_t n, size_t position);

/* Line, from 1, and number of characters of that line in front of a position: jansson's way to count. */
void pc_json_place(const char *text, size_t position, int *line, int *column);

#endif
