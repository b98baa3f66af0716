// SPDX-License-Identifier: Apache-2.0
// LINK: svc

#include <stdlib.h>
#include <string.h>

#include "common/svc/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// libconfig 1.5 forgets its string buffer when a text ends inside a string. The program ends then
// as well, so it does no harm.
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

static const struct conf_item items[] = {
    {.name = "port", .type = CONF_INT, .min = 1, .max = 65535, .help = "Port."},
    {.name = "a.name", .type = CONF_STRING, .help = "Name."},
    {.name = "a.b.time", .type = CONF_DURATION, .help = "Time."},
    {.name = "on", .type = CONF_BOOL, .help = "On."},
    {.name = "hosts", .type = CONF_LIST, .help = "Hosts."},
};
static const struct conf_spec spec = {
    .program = "fuzz", .items = items, .count = sizeof(items) / sizeof(items[0])};

// A configuration file of anybody: settings or one error line.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char err[CONF_ERROR_MAX] = "";
    char *const text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (conf_check_text(&spec, text, err) == -EINVAL && (err[0] == '\0' || strchr(err, '\n'))) {
        abort();
    }
    int64_t ms = 0;
    struct addr binds[CONF_BIND_MAX];
    size_t n = 0;
    (void)!conf_parse_duration_ms(text, &ms);
    // Names would be looked up.
    if (strspn(text, "0123456789:.[]") == strlen(text)) {
        (void)!conf_parse_bind(text, binds, &n);
    }
    free(text);
    return 0;
}
