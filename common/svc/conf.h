// SPDX-License-Identifier: Apache-2.0
#pragma once
// Settings from one table: flags, environment, configuration file (libconfig), credentials of
// systemd, defaults, in this order of precedence.
//
// Every value knows where it came from. Whatever is wrong (unknown flag, unknown name in the file,
// bad value, missing or contradictory setting) becomes ONE line that names the setting, the place
// and what to do. The text of --help and the dump of --check-config are made from the same table.
// An empty environment variable counts as unset. Start-up, one thread; a loaded struct conf is
// read-only and may be read by any thread.

#include "common/base/addr.h"
#include "common/base/dynbuf.h"

enum conf_type {
    CONF_STRING,
    CONF_INT,
    CONF_BOOL,     // true/false, yes/no, on/off, 1/0; the flag alone means true
    CONF_BIND,     // "8080", ":8080", "127.0.0.1:8080", "[::1]:8080", "localhost:http"
    CONF_LIST,     // strings separated by commas or white space; in the file also an array
    CONF_DURATION, // "250ms" "10s" "5m" "1h"; a bare number is in seconds
    CONF_SECRET,   // a string that is never printed
};

enum {
    CONF_REQUIRED = 1, // an error if nothing gives it
    CONF_FROM_FILE =
        2, // X_FROM_FILE, --x-from-file and x_from_file name a file that holds the value (trimmed)
    CONF_DEPRECATED = 4, // accepted with a warning that quotes `instead`
    CONF_HIDDEN = 8,     // value is never printed (lists that hold secrets)
    CONF_NO_DUMP = 16,   // not in --help
    // $CREDENTIALS_DIRECTORY/<name> (systemd's LoadCredential=, SetCredentialEncrypted= ...) holds
    // the value; always so for CONF_SECRET,
    CONF_CREDENTIAL = 32,
    // or is the file that the value names.
    CONF_CREDENTIAL_PATH = 64,
};

#define CONF_ALIASES 3

// One setting. The table is indexed by the program's own enum; unused fields are zero.
struct conf_item {
    const char *name; // as in the file, groups by dots: "rtc.udp_port"
    enum conf_type type;
    unsigned flags;
    const char *env[CONF_ALIASES];   // the first is the one we advertise
    const char *flag[CONF_ALIASES];  // without the dashes
    const char *alias[CONF_ALIASES]; // other names in the file
    const char *def;                 // default as text; NULL: unset
    int64_t min, max;                // CONF_INT, CONF_DURATION (milliseconds); both 0: no limits
    const char *const *choices;      // CONF_STRING: allowed words, NULL-terminated
    const char *conflicts; // name of a setting that may not be given together with this one
    const char *instead;   // CONF_DEPRECATED: what to use
    const char *arg;       // placeholder in --help, "PORT"
    const char *help;      // one sentence
};

// An environment name that people use for one of ours.
struct conf_rename {
    const char *wrong;
    const char *right;
};

struct conf_spec {
    const char *program;
    const char *version;
    const char *summary; // one line above the flags in --help
    const struct conf_item *items;
    size_t count;
    const char *config_env;     // environment variable with the path of the file, may be NULL
    const char *config_default; // read if it exists and none is given, may be NULL
    // Environment names with these prefixes that are no setting give a warning with the nearest
    // known name.
    const char *const *env_prefixes; // NULL-terminated, may be NULL
    // Known names with such a prefix that belong to somebody else (the other program); a * at the
    // end stands for anything. NULL-terminated, may be NULL.
    const char *const *env_foreign;
    // Wrong names whose right one is known, ended by a NULL pair; may be NULL. (The nearest name is
    // found without it.)
    const struct conf_rename *env_renamed;
    unsigned positional_max; // how many arguments that are no flags are allowed
};

enum conf_action {
    CONF_RUN,
    CONF_SHOW_HELP,    // --help, -h
    CONF_SHOW_VERSION, // --version
    CONF_CHECK,        // --check-config
};

struct conf;

// Longest error line.
#define CONF_ERROR_MAX 768

// Reads everything. argv[0] is skipped; envp NULL: no environment. On success *ret is to be freed
// with conf_free. -EINVAL: err holds the line for the operator (no newline). -ENOMEM. With --help
// or --version the rest is not checked.
int conf_load(const struct conf_spec *spec, int argc, const char *const *argv,
              const char *const *envp, struct conf **ret,
              char err[static CONF_ERROR_MAX]) NODISCARD;
void conf_free(struct conf *c);
DEFINE_CLEANUP(struct conf *, conf_free)

enum conf_action conf_action(const struct conf *c);

// True if anything but the default gave it.
bool conf_is_set(const struct conf *c, size_t item);
// True if it has a value, be it the default.
bool conf_has(const struct conf *c, size_t item);

// The value; "" / 0 / false / no entries if it has none. Asking for the wrong type is our bug
// (assert).
const char *conf_str(const struct conf *c, size_t item); // CONF_STRING, CONF_SECRET
int64_t conf_int(const struct conf *c, size_t item);
bool conf_bool(const struct conf *c, size_t item);
int64_t conf_ms(const struct conf *c, size_t item); // CONF_DURATION
size_t conf_list_len(const struct conf *c, size_t item);
const char *conf_list_at(const struct conf *c, size_t item, size_t i);

// CONF_BIND. Without a host, and for [::], both 0.0.0.0 and [::] are given; a name gives what it
// resolves to.
#define CONF_BIND_MAX 4
size_t conf_bind(const struct conf *c, size_t item, struct addr ret[static CONF_BIND_MAX]);

// Where the value comes from: "flag --port", "environment LIVEKIT_KEY", "file /etc/foci.conf:12",
// "credential /run/credentials/foci-jwt.service/secret", "default", "unset";
// "..., read from /run/secrets/key" is added for CONF_FROM_FILE.
const char *conf_origin(const struct conf *c, size_t item);

// The file that the value was read from by CONF_FROM_FILE or as a credential, NULL if it was given
// otherwise: it may be read again when it changes.
const char *conf_path(const struct conf *c, size_t item);

// For checks of the program's own: "rtc.udp_port (environment UDP_PORT): <text>" into err; returns
// -EINVAL.
int conf_fail(const struct conf *c, size_t item, char err[static CONF_ERROR_MAX], const char *fmt,
              ...) PRINTF_LIKE(4, 5);

// Things the operator should know but that are no errors (deprecated, near-miss names), one line
// each.
size_t conf_warnings(const struct conf *c);
const char *conf_warning(const struct conf *c, size_t i);

size_t conf_positionals(const struct conf *c);
const char *conf_positional(const struct conf *c, size_t i);

// Appends the text of --help.
void conf_help(const struct conf_spec *spec, struct dynbuf *out);

// Appends one line per setting: name = value  (origin). Secrets as ***.
void conf_dump(const struct conf *c, struct dynbuf *out);

// Overwrites the values of secret settings (CONF_SECRET, CONF_HIDDEN) where the process was given
// them, so that /proc/PID/cmdline and environ, which outlive the start, do not show them. The
// settings must have been loaded; argv and envp those of main.
void conf_hide_secrets(const struct conf_spec *spec, int argc, char *const *argv,
                       char *const *envp);

// Parsers of single values, for settings that have structure of their own. -EINVAL.
int conf_parse_duration_ms(const char *text, int64_t *ret) NODISCARD;
int conf_parse_bind(const char *text, struct addr ret[static CONF_BIND_MAX],
                    size_t *ret_n) NODISCARD;

// Reads a small file whole, trims leading and trailing space, CR and LF. To be freed with mem_free.
// Negative errno; -EFBIG if it has more than max bytes, -ETIMEDOUT for a pipe or FIFO that does not
// come to its end in time (conf_set_patience).
int conf_read_file(const char *path, size_t max, char **ret, size_t *ret_n) NODISCARD;

// How long reading waits for the text of what is no file: a pipe of the shell's <(...) has it a moment
// later, a FIFO that nobody opens never. 10 s to begin with; a service that runs must not stand still
// and says 0 once it does.
void conf_set_patience(int64_t ms);

// The same without trimming, for files whose lines are counted. *ret_mode: the permission bits, 0
// if it is no regular file. The caller wipes what is secret.
int conf_read_whole(const char *path, size_t max, char **ret, size_t *ret_n,
                    unsigned *ret_mode) NODISCARD;

// Parses text as a configuration file and matches it with the table; what conf_load does with the
// file's content. For the fuzzer.
int conf_check_text(const struct conf_spec *spec, const char *text,
                    char err[static CONF_ERROR_MAX]) NODISCARD;
