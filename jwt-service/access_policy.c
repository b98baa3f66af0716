// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/access_policy.h"

#include <stdio.h>

#include "jwt-service/access_policy_internal.h"
#include "jwt-service/base/token_issuer.h"

const char *const access_effect_names[ACCESS_EFFECT_COUNT] = {
    "create", "publish", "subscribe", "delegate", "sources", "max_participants", "token_lifetime",
};
const char *const access_subject_names[ACCESS_SUBJECT_COUNT] = {"server", "user", "room"};

static const struct {
    const char *name;
    uint32_t bit;
} sources[] = {
    {"camera", ACCESS_SOURCE_CAMERA},
    {"microphone", ACCESS_SOURCE_MICROPHONE},
    {"screen_share", ACCESS_SOURCE_SCREEN_SHARE},
    {"screen_share_audio", ACCESS_SOURCE_SCREEN_SHARE_AUDIO},
};

uint32_t access_source_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (strcmp(sources[i].name, name) == 0) {
            return sources[i].bit;
        }
    }
    return 0;
}

void access_sources_text(uint32_t bits, char ret[static ACCESS_SOURCES_TEXT])
{
    size_t n = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if ((bits & sources[i].bit) != 0) {
            n += (size_t)snprintf(ret + n, ACCESS_SOURCES_TEXT - n, "%s%s", n > 0 ? ", " : "",
                                  sources[i].name);
        }
    }
}

size_t access_policy_rules(const struct access_policy *p)
{
    return p != NULL ? p->count : 0;
}

const char *access_policy_server_of(const char *user_id)
{
    // The local part has no colon (matrix-spec, user identifiers); a port or IPv6 address behind it
    // has.
    const char *const colon = strchr(user_id, ':');
    return *user_id == '@' && colon != NULL && colon > user_id + 1 && colon[1] != '\0' ? colon + 1
                                                                                       : NULL;
}

// ---- patterns -------------------------------------------------------------------------------

// Bytes of the character at s, which is not at its end.
static size_t character_len(const char *s)
{
    size_t n = 1;
    if ((uint8_t)s[0] >= 0xc2) {
        while (n < 4 && ((uint8_t)s[n] & 0xc0u) == 0x80) {
            n++;
        }
    }
    return n;
}

bool access_policy_glob(const char *pattern, const char *text)
{
    const char *star = NULL;  // behind the last `*`
    const char *retry = NULL; // where what follows it is tried next
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*pattern == '?') {
            pattern++;
            text += character_len(text);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            // Only the last star is ever tried anew: earlier ones took the least they could.
            retry += character_len(retry);
            text = retry;
            pattern = star;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

static bool any_matches(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (access_policy_glob(list[i], text)) {
            return true;
        }
    }
    return false;
}

bool access_patterns_open(const struct access_patterns *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->list[i][strspn(p->list[i], "*")] == '\0') {
            return true;
        }
    }
    return p->count == 0;
}

static bool patterns_match(const struct access_patterns *p, const char *text)
{
    return p->count == 0 || any_matches(p->list, p->count, text);
}

// ---- deciding -------------------------------------------------------------------------------

static void name_rule(char ret[static ACCESS_POLICY_NAME_MAX + 1], const char *name)
{
    (void)snprintf(ret, ACCESS_POLICY_NAME_MAX + 1, "%s", name);
}

// The list of servers that refuses this one, NULL if none does; its line in the file, 0 for a
// setting.
static const char *refusing_list(const struct access_policy *p, const struct access_defaults *d,
                                 const char *server, unsigned *ret_line)
{
    *ret_line = 0;
    if (any_matches(d->blocked_servers, d->blocked_server_count, server)) {
        return ACCESS_RULE_BLOCKED_SETTING;
    }
    if (d->allowed_server_count > 0 &&
        !any_matches(d->allowed_servers, d->allowed_server_count, server)) {
        return ACCESS_RULE_ALLOWED_SETTING;
    }
    if (p != NULL && p->denied.count > 0 && patterns_match(&p->denied, server)) {
        *ret_line = p->denied.line;
        return ACCESS_RULE_DENIED;
    }
    if (p != NULL && !patterns_match(&p->allowed, server)) {
        *ret_line = p->allowed.line;
        return ACCESS_RULE_ALLOWED;
    }
    return NULL;
}

static const char *subject_text(const struct access_question *q, enum access_subject subject)
{
    const char *const text[] = {q->server_name, q->user_id, q->room_id};
    return text[subject];
}

// The first subject that keeps the rule from matching, ACCESS_SUBJECT_COUNT if it matches.
static enum access_subject mismatch(const struct access_rule *r, const struct access_question *q)
{
    for (size_t i = 0; i < ACCESS_SUBJECT_COUNT; i++) {
        if (!patterns_match(&r->subject[i], subject_text(q, (enum access_subject)i))) {
            return (enum access_subject)i;
        }
    }
    return ACCESS_SUBJECT_COUNT;
}

static const struct access_rule *first_match(const struct access_policy *p,
                                             const struct access_question *q)
{
    for (size_t i = 0; p != NULL && i < p->count; i++) {
        if (mismatch(&p->rules[i], q) == ACCESS_SUBJECT_COUNT) {
            return &p->rules[i];
        }
    }
    return NULL;
}

// What holds without a rule (authorization-service 6.1).
static int64_t default_effect(const struct access_defaults *d, const struct access_question *q,
                              enum access_effect effect)
{
    switch (effect) {
    case ACCESS_CREATE:
    case ACCESS_DELEGATE:
        return q->full_access;
    case ACCESS_PUBLISH:
        return q->full_access || d->restricted_can_publish;
    case ACCESS_SUBSCRIBE:
        return true;
    case ACCESS_PARTICIPANTS:
        return d->max_participants;
    case ACCESS_LIFETIME:
        return d->token_lifetime_s > 0 ? d->token_lifetime_s : TOKEN_JOIN_LIFETIME_S;
    case ACCESS_SOURCES:
    case ACCESS_EFFECT_COUNT:
        break;
    }
    return 0;
}

static int64_t effect_of(const struct access_rule *rule, const struct access_defaults *d,
                         const struct access_question *q, enum access_effect effect)
{
    return rule != NULL && rule->effect[effect].line > 0 ? rule->effect[effect].v
                                                         : default_effect(d, q, effect);
}

// The decision, and the rule that it is from (NULL: lists or defaults).
static const struct access_rule *decide(const struct access_policy *p,
                                        const struct access_defaults *d,
                                        const struct access_question *q,
                                        struct access_decision *ret)
{
    *ret = (struct access_decision){.allowed = false};
    const char *const list = refusing_list(p, d, q->server_name, &ret->line);
    if (list != NULL) {
        name_rule(ret->rule, list);
        return NULL;
    }
    const struct access_rule *const rule = first_match(p, q);
    if (rule != NULL) {
        name_rule(ret->rule, rule->name);
        ret->line = rule->line;
    }
    if (rule != NULL && rule->deny) {
        return rule;
    }
    ret->allowed = true;
    ret->create = effect_of(rule, d, q, ACCESS_CREATE) != 0;
    ret->publish = effect_of(rule, d, q, ACCESS_PUBLISH) != 0;
    ret->subscribe = effect_of(rule, d, q, ACCESS_SUBSCRIBE) != 0;
    ret->delegate = effect_of(rule, d, q, ACCESS_DELEGATE) != 0;
    ret->sources = ret->publish ? (uint32_t)effect_of(rule, d, q, ACCESS_SOURCES) : 0;
    ret->max_participants = ret->create ? (uint32_t)effect_of(rule, d, q, ACCESS_PARTICIPANTS) : 0;
    ret->token_lifetime_s = effect_of(rule, d, q, ACCESS_LIFETIME);
    return rule;
}

void access_policy_decide(const struct access_policy *p, const struct access_defaults *d,
                          const struct access_question *q, struct access_decision *ret)
{
    (void)decide(p, d, q, ret);
}

bool access_policy_denies_server(const struct access_policy *p, const struct access_defaults *d,
                                 const char *server_name, char ret_rule[ACCESS_POLICY_NAME_MAX + 1])
{
    unsigned line = 0;
    const char *name = refusing_list(p, d, server_name, &line);
    for (size_t i = 0; name == NULL && p != NULL && i < p->count; i++) {
        const struct access_rule *const r = &p->rules[i];
        if (!patterns_match(&r->subject[ACCESS_SERVER], server_name)) {
            continue;
        }
        if (!r->deny) {
            return false; // somebody of this server may get here
        }
        // A denial of some users only leaves the others to the rules that follow.
        if (access_patterns_open(&r->subject[ACCESS_USER]) &&
            access_patterns_open(&r->subject[ACCESS_ROOM])) {
            name = r->name;
        }
    }
    if (name != NULL && ret_rule != NULL) {
        name_rule(ret_rule, name);
    }
    return name != NULL;
}

// ---- explaining -----------------------------------------------------------------------------

// Ids come from whoever types the command: control characters would drive the terminal.
static void add_visible(struct dynbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        dynbuf_add_u8(out, (uint8_t)*text < ' ' || *text == 0x7f ? '?' : (uint8_t)*text);
    }
}

static void add_patterns(struct dynbuf *out, const struct access_patterns *p)
{
    size_t const shown = MIN(p->count, (size_t)4); // enough to recognise a list
    for (size_t i = 0; i < shown; i++) {
        dynbuf_addf(out, "%s\"", i > 0 ? ", " : "");
        add_visible(out, p->list[i]);
        dynbuf_add_str(out, "\"");
    }
    if (shown < p->count) {
        dynbuf_addf(out, " and %zu more", p->count - shown);
    }
}

static void add_place(struct dynbuf *out, const struct access_policy *p, unsigned line)
{
    dynbuf_addf(out, "  (%s:%u)\n", p->path, line);
}

static void explain_question(const struct access_question *q, struct dynbuf *out)
{
    dynbuf_add_str(out, "user              ");
    add_visible(out, q->user_id);
    dynbuf_add_str(out, "\nserver            ");
    add_visible(out, q->server_name);
    dynbuf_addf(out, "  (%s)\nroom              ",
                q->full_access ? "full access" : "restricted: not on the full-access list");
    add_visible(out, q->room_id);
    dynbuf_add_str(out, "\n");
}

// The rules up to the one that decides, with what keeps each from matching.
static void explain_rules(const struct access_policy *p, const struct access_question *q,
                          const struct access_rule *rule, struct dynbuf *out)
{
    for (size_t i = 0; p != NULL && i < p->count && &p->rules[i] != rule; i++) {
        const struct access_rule *const r = &p->rules[i];
        enum access_subject const s = mismatch(r, q);
        if (s < ACCESS_SUBJECT_COUNT) {
            dynbuf_addf(out, "not rule          \"%s\": %s is not ", r->name,
                        access_subject_names[s]);
            add_patterns(out, &r->subject[s]);
            add_place(out, p, r->subject[s].line);
        }
    }
    if (rule == NULL) {
        dynbuf_addf(out, "rule              none%s: the defaults hold\n",
                    p == NULL || p->count == 0 ? "" : " matches");
        return;
    }
    dynbuf_addf(out, "rule              \"%s\"", rule->name);
    for (size_t i = 0; i < ACCESS_SUBJECT_COUNT; i++) {
        if (rule->subject[i].count > 0) {
            dynbuf_addf(out, ", %s is ", access_subject_names[i]);
            add_patterns(out, &rule->subject[i]);
        }
    }
    add_place(out, p, rule->line);
}

static const char *default_reason(const struct access_question *q, enum access_effect effect)
{
    switch (effect) {
    case ACCESS_CREATE:
    case ACCESS_DELEGATE:
        return q->full_access ? "default for full access" : "default without full access";
    case ACCESS_PUBLISH:
        return q->full_access ? "default" : "setting restricted_can_publish";
    case ACCESS_LIFETIME:
        return "setting token_lifetime";
    default:
        return "default";
    }
}

static void explain_effect(const struct access_policy *p, const struct access_question *q,
                           const struct access_rule *rule, enum access_effect effect,
                           const char *label, const char *value, struct dynbuf *out)
{
    unsigned const line = rule != NULL ? rule->effect[effect].line : 0;
    dynbuf_addf(out, "%-18s%s", label, value);
    if (line > 0) {
        add_place(out, p, line);
    } else {
        dynbuf_addf(out, "  (%s)\n", default_reason(q, effect));
    }
}

static const char *yes_no(bool b)
{
    return b ? "yes" : "no";
}

static void explain_decision(const struct access_policy *p, const struct access_question *q,
                             const struct access_rule *rule, const struct access_decision *a,
                             struct dynbuf *out)
{
    char text[ACCESS_SOURCES_TEXT];
    explain_effect(p, q, rule, ACCESS_CREATE, "create rooms", yes_no(a->create), out);
    if (a->create) {
        (void)snprintf(text, sizeof(text), "at most %u", a->max_participants);
        explain_effect(p, q, rule, ACCESS_PARTICIPANTS, "participants",
                       a->max_participants > 0 ? text : "no limit", out);
    }
    explain_effect(p, q, rule, ACCESS_PUBLISH, "publish", yes_no(a->publish), out);
    if (a->publish) {
        access_sources_text(a->sources, text);
        explain_effect(p, q, rule, ACCESS_SOURCES, "sources", a->sources != 0 ? text : "all", out);
    }
    explain_effect(p, q, rule, ACCESS_SUBSCRIBE, "subscribe", yes_no(a->subscribe), out);
    explain_effect(p, q, rule, ACCESS_DELEGATE, "delegate leaves", yes_no(a->delegate), out);
    (void)snprintf(text, sizeof(text), "%lld s", (long long)a->token_lifetime_s);
    explain_effect(p, q, rule, ACCESS_LIFETIME, "token valid for", text, out);
}

void access_policy_explain(const struct access_policy *p, const struct access_defaults *d,
                           const struct access_question *q, struct dynbuf *out)
{
    struct access_decision a;
    const struct access_rule *const rule = decide(p, d, q, &a);
    explain_question(q, out);
    if (!a.allowed && rule == NULL) {
        dynbuf_addf(out, "decision          no token: the server is %s %s",
                    strncmp(a.rule, "allowed", 7) == 0 ? "not in" : "in", a.rule);
        if (a.line > 0) {
            add_place(out, p, a.line);
        } else {
            dynbuf_add_str(out, "  (setting)\n");
        }
        return;
    }
    explain_rules(p, q, rule, out);
    if (!a.allowed) {
        dynbuf_add_str(out, "decision          no token");
        add_place(out, p, rule->deny_line);
        return;
    }
    dynbuf_add_str(out, "decision          token\n");
    explain_decision(p, q, rule, &a, out);
}
