// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/conf_tree.h"
#include "jwt-service/access_policy_internal.h"

// The tree of a file of CONF_TREE_TEXT_MAX; it lives while the file is read.
#define TREE_ARENA_MAX (16u << 20)
// What is kept of it: the rules' texts are not more than the file's.
#define RULES_ARENA_MAX (4u << 20)
#define ARENA_FIRST 1024

static const char *const top_names[] = {"allowed_servers", "denied_servers", "rules", NULL};
static const char *const rule_names[] = {"name",
                                         "server",
                                         "user",
                                         "room",
                                         "deny",
                                         "create",
                                         "publish",
                                         "subscribe",
                                         "sources",
                                         "delegate",
                                         "max_participants",
                                         "token_lifetime",
                                         NULL};

struct reading {
    struct access_policy *policy;
    const char *path;
    char *err;
    size_t patterns; // so far
};

#define FAIL(r, node, ...) conf_tree_fail((node), (r)->path, (r)->err, __VA_ARGS__)

static int no_memory(const struct reading *r)
{
    (void)snprintf(r->err, CONF_ERROR_MAX, "%.256s: out of memory", r->path);
    return -ENOMEM;
}

static int wrong_type(const struct reading *r, const struct conf_tree *n, const char *wanted)
{
    return FAIL(r, n, "%s must be %s, not %s", n->name != NULL ? n->name : "an entry", wanted,
                conf_tree_type_name(n->type));
}

// ---- patterns -------------------------------------------------------------------------------

static bool has_control(const char *s)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f) {
            return true;
        }
    }
    return false;
}

// What would never match is a mistake. The first character of an id tells what it is.
static int check_pattern(const struct reading *r, const struct conf_tree *n,
                         enum access_subject subject)
{
    const char *const s = n->v.s;
    bool const wild = *s == '*' || *s == '?';
    if (*s == '\0') {
        return FAIL(r, n, "an empty pattern matches nothing; take it out or write \"*\"");
    }
    if (strlen(s) > ACCESS_POLICY_PATTERN_MAX) {
        return FAIL(r, n, "this pattern is longer than any id (%d bytes)",
                    ACCESS_POLICY_PATTERN_MAX);
    }
    if (has_control(s)) {
        return FAIL(r, n, "this pattern has a control character; take it out");
    }
    if (subject == ACCESS_SERVER && (strstr(s, "://") != NULL || strpbrk(s, "@/ ") != NULL)) {
        return FAIL(r, n, "\"%.64s\" is no server name; write it as in user ids, \"example.org\"",
                    s);
    }
    if (subject == ACCESS_USER && *s != '@' && !wild) {
        return FAIL(r, n, "user \"%.64s\": user ids begin with @, \"@alice:example.org\"", s);
    }
    if (subject == ACCESS_ROOM && *s != '!' && !wild) {
        return FAIL(r, n, "room \"%.64s\": write the room id, which begins with ! (%s)", s,
                    *s == '#' ? "addresses are not known here" : "see the room's settings");
    }
    return 0;
}

static int add_pattern(struct reading *r, const struct conf_tree *n, enum access_subject subject,
                       const char **ret)
{
    if (n->type != CONF_TREE_STRING) {
        return wrong_type(r, n, "a text in quotes");
    }
    if (++r->patterns > ACCESS_POLICY_PATTERNS_MAX) {
        return FAIL(r, n, "more than %d patterns; make fewer of them with *",
                    ACCESS_POLICY_PATTERNS_MAX);
    }
    int const rc = check_pattern(r, n, subject);
    if (rc < 0) {
        return rc;
    }
    *ret = arena_strdup(&r->policy->arena, bytes_str(n->v.s));
    return *ret != NULL ? 0 : no_memory(r);
}

// One text or a list of them; n NULL: not given.
static int read_patterns(struct reading *r, const struct conf_tree *n, enum access_subject subject,
                         struct access_patterns *ret)
{
    if (n == NULL) {
        return 0;
    }
    bool const is_list = n->type == CONF_TREE_LIST;
    size_t const count = is_list ? n->count : 1;
    if (count == 0) {
        return FAIL(r, n, "%s is an empty list; put something in or take it out", n->name);
    }
    const char **const list = arena_array(&r->policy->arena, count, sizeof(*list));
    if (list == NULL) {
        return no_memory(r);
    }
    const struct conf_tree *entry = is_list ? n->first : n;
    for (size_t i = 0; i < count; i++, entry = entry->next) {
        int const rc = add_pattern(r, entry, subject, &list[i]);
        if (rc < 0) {
            return rc;
        }
    }
    *ret = (struct access_patterns){.list = list, .count = count, .line = n->line};
    return 0;
}

// ---- effects --------------------------------------------------------------------------------

static int read_sources(struct reading *r, const struct conf_tree *n, int64_t *ret)
{
    bool const is_list = n->type == CONF_TREE_LIST;
    uint32_t bits = 0;
    const struct conf_tree *entry = is_list ? n->first : n;
    for (; entry != NULL; entry = is_list ? entry->next : NULL) {
        if (entry->type != CONF_TREE_STRING) {
            return wrong_type(r, entry, "a text in quotes");
        }
        uint32_t const bit = access_source_of(entry->v.s);
        if (bit == 0) {
            return FAIL(r, entry,
                        "there is no source \"%.64s\"; there are camera, microphone, screen_share "
                        "and screen_share_audio",
                        entry->v.s);
        }
        bits |= bit;
    }
    if (bits == 0) {
        return FAIL(r, n, "sources is an empty list; write publish = false");
    }
    *ret = bits;
    return 0;
}

static int read_participants(struct reading *r, const struct conf_tree *n, int64_t *ret)
{
    if (n->type != CONF_TREE_INT) {
        return wrong_type(r, n, "a whole number");
    }
    if (n->v.i < 0 || n->v.i > ACCESS_POLICY_PARTICIPANTS_MAX) {
        return FAIL(r, n, "max_participants must be from 0 (no limit) to %d",
                    ACCESS_POLICY_PARTICIPANTS_MAX);
    }
    *ret = n->v.i;
    return 0;
}

static int read_lifetime(struct reading *r, const struct conf_tree *n, int64_t *ret)
{
    int64_t ms = 0;
    if (n->type == CONF_TREE_INT) {
        ms = n->v.i < -1 || n->v.i > ACCESS_POLICY_LIFETIME_MAX_S ? -1 : n->v.i * 1000;
    } else if (n->type != CONF_TREE_STRING) {
        return wrong_type(r, n, "a time such as \"10m\" or a number of seconds");
    } else if (conf_parse_duration_ms(n->v.s, &ms) < 0) {
        return FAIL(r, n, "\"%.64s\" is no time; write \"30s\", \"10m\" or \"1h\"", n->v.s);
    }
    if (ms < ACCESS_POLICY_LIFETIME_MIN_S * INT64_C(1000) ||
        ms > ACCESS_POLICY_LIFETIME_MAX_S * INT64_C(1000)) {
        return FAIL(r, n,
                    "token_lifetime must be from %ds to %dh: joining takes seconds, and a token "
                    "cannot be called back",
                    ACCESS_POLICY_LIFETIME_MIN_S, ACCESS_POLICY_LIFETIME_MAX_S / 3600);
    }
    *ret = ms / 1000;
    return 0;
}

static int read_bool(struct reading *r, const struct conf_tree *n, bool *ret)
{
    if (n->type != CONF_TREE_BOOL) {
        return wrong_type(r, n, "true or false");
    }
    *ret = n->v.b;
    return 0;
}

static int read_effect(struct reading *r, const struct conf_tree *n, enum access_effect effect,
                       struct access_rule *rule)
{
    bool b = false;
    int rc = 0;
    int64_t v = 0;
    switch (effect) {
    case ACCESS_SOURCES:
        rc = read_sources(r, n, &v);
        break;
    case ACCESS_PARTICIPANTS:
        rc = read_participants(r, n, &v);
        break;
    case ACCESS_LIFETIME:
        rc = read_lifetime(r, n, &v);
        break;
    default:
        rc = read_bool(r, n, &b);
        v = b;
        break;
    }
    if (rc == 0) {
        rule->effect[effect].line = n->line;
        rule->effect[effect].v = v;
    }
    return rc;
}

// ---- rules ----------------------------------------------------------------------------------

static int read_name(struct reading *r, const struct conf_tree *group, size_t index,
                     struct access_rule *rule)
{
    const struct conf_tree *const n = conf_tree_find(group, "name");
    char made[32];
    (void)snprintf(made, sizeof(made), "rule %zu", index + 1);
    const char *name = made;
    if (n != NULL && n->type != CONF_TREE_STRING) {
        return wrong_type(r, n, "a text in quotes");
    }
    if (n != NULL) {
        name = n->v.s;
        if (*name == '\0' || strlen(name) > ACCESS_POLICY_NAME_MAX || has_control(name)) {
            return FAIL(r, n, "a name has 1 to %d bytes and no control characters",
                        ACCESS_POLICY_NAME_MAX);
        }
        if (strcmp(name, ACCESS_RULE_DENIED) == 0 || strcmp(name, ACCESS_RULE_ALLOWED) == 0 ||
            strcmp(name, ACCESS_RULE_ALLOWED_SETTING) == 0 ||
            strcmp(name, ACCESS_RULE_BLOCKED_SETTING) == 0) {
            return FAIL(r, n, "the name \"%s\" has a meaning of its own; choose another", name);
        }
    }
    for (size_t i = 0; i < index; i++) {
        const struct access_rule *const other = &r->policy->rules[i];
        if (strcmp(other->name, name) == 0) {
            return FAIL(r, n != NULL ? n : group,
                        "the name \"%s\" is the one of the rule in line %u as well; rename one",
                        name, other->line);
        }
    }
    rule->name = arena_strdup(&r->policy->arena, bytes_str(name));
    return rule->name != NULL ? 0 : no_memory(r);
}

// Parts of a rule that cannot both be meant.
static int check_rule(const struct reading *r, const struct conf_tree *group,
                      const struct access_rule *rule)
{
    for (size_t i = 0; rule->deny && i < ACCESS_EFFECT_COUNT; i++) {
        if (rule->effect[i].line > 0) {
            return FAIL(r, group,
                        "rule \"%s\" has deny (line %u) and %s (line %u); drop one of them",
                        rule->name, rule->deny_line, access_effect_names[i], rule->effect[i].line);
        }
    }
    static const struct {
        enum access_effect off, with;
    } pairs[] = {{ACCESS_PUBLISH, ACCESS_SOURCES}, {ACCESS_CREATE, ACCESS_PARTICIPANTS}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        unsigned const off = rule->effect[pairs[i].off].line;
        unsigned const with = rule->effect[pairs[i].with].line;
        if (off > 0 && rule->effect[pairs[i].off].v == 0 && with > 0) {
            return FAIL(r, group,
                        "rule \"%s\": %s (line %u) means nothing with %s = false (line %u); drop "
                        "one of them",
                        rule->name, access_effect_names[pairs[i].with], with,
                        access_effect_names[pairs[i].off], off);
        }
    }
    return 0;
}

static int read_rule(struct reading *r, const struct conf_tree *group, size_t index,
                     struct access_rule *rule)
{
    if (group->type != CONF_TREE_GROUP) {
        return wrong_type(r, group, "a group { }");
    }
    rule->line = group->line;
    if (!conf_tree_names_known(group, rule_names, r->path, r->err)) {
        return -EINVAL;
    }
    int rc = read_name(r, group, index, rule);
    for (size_t i = 0; rc == 0 && i < ACCESS_SUBJECT_COUNT; i++) {
        rc = read_patterns(r, conf_tree_find(group, access_subject_names[i]),
                           (enum access_subject)i, &rule->subject[i]);
    }
    const struct conf_tree *const deny = conf_tree_find(group, "deny");
    if (rc == 0 && deny != NULL) {
        rule->deny_line = deny->line;
        rc = read_bool(r, deny, &rule->deny);
    }
    for (size_t i = 0; rc == 0 && i < ACCESS_EFFECT_COUNT; i++) {
        const struct conf_tree *const n = conf_tree_find(group, access_effect_names[i]);
        rc = n != NULL ? read_effect(r, n, (enum access_effect)i, rule) : 0;
    }
    return rc == 0 ? check_rule(r, group, rule) : rc;
}

static bool matches_everything(const struct access_rule *rule)
{
    return access_patterns_open(&rule->subject[ACCESS_SERVER]) &&
           access_patterns_open(&rule->subject[ACCESS_USER]) &&
           access_patterns_open(&rule->subject[ACCESS_ROOM]);
}

static int read_rules(struct reading *r, const struct conf_tree *list)
{
    if (list == NULL) {
        return 0;
    }
    if (list->type != CONF_TREE_LIST) {
        return wrong_type(r, list, "a list ( { }, { } )");
    }
    if (list->count > ACCESS_POLICY_RULES_MAX) {
        return FAIL(r, list, "more than %d rules; join those that say the same with lists",
                    ACCESS_POLICY_RULES_MAX);
    }
    struct access_rule *const rules =
        arena_array(&r->policy->arena, list->count, sizeof(struct access_rule));
    if (rules == NULL) {
        return no_memory(r);
    }
    r->policy->rules = rules;
    const struct conf_tree *n = list->first;
    for (size_t i = 0; i < list->count; i++, n = n->next) {
        int const rc = read_rule(r, n, i, &rules[i]);
        if (rc < 0) {
            return rc;
        }
        if (i > 0 && matches_everything(&rules[i - 1])) {
            return FAIL(r, n,
                        "rule \"%s\" is never reached: rule \"%s\" (line %u) matches everything; "
                        "put that one last",
                        rules[i].name, rules[i - 1].name, rules[i - 1].line);
        }
        r->policy->count = i + 1;
    }
    return 0;
}

// ---- files ----------------------------------------------------------------------------------

static int read_root(struct reading *r, const struct conf_tree *root)
{
    if (!conf_tree_names_known(root, top_names, r->path, r->err)) {
        return -EINVAL;
    }
    int rc = read_patterns(r, conf_tree_find(root, "allowed_servers"), ACCESS_SERVER,
                           &r->policy->allowed);
    if (rc == 0) {
        rc = read_patterns(r, conf_tree_find(root, "denied_servers"), ACCESS_SERVER,
                           &r->policy->denied);
    }
    return rc == 0 ? read_rules(r, conf_tree_find(root, "rules")) : rc;
}

static int policy_read(const char *path, const char *text, struct access_policy **ret, char *err)
{
    CLEANUP(access_policy_free) struct access_policy *p = NEW(struct access_policy);
    struct reading r = {.policy = p, .path = path, .err = err};
    if (p == NULL) {
        return no_memory(&r);
    }
    arena_init(&p->arena, ARENA_FIRST, RULES_ARENA_MAX);
    p->path = arena_strdup(&p->arena, bytes_str(path));
    if (p->path == NULL) {
        return no_memory(&r);
    }
    struct arena tree;
    arena_init(&tree, ARENA_FIRST, TREE_ARENA_MAX);
    const struct conf_tree *root = NULL;
    int rc = conf_tree_read(path, text, &tree, &root, err);
    rc = rc == 0 ? read_root(&r, root) : rc;
    arena_done(&tree);
    if (rc == 0) {
        *ret = STEAL(p);
    }
    return rc;
}

int access_policy_load(const char *path, struct access_policy **ret,
                       char err[static CONF_ERROR_MAX])
{
    return policy_read(path, NULL, ret, err);
}

int access_policy_parse(const char *path, const char *text, struct access_policy **ret,
                        char err[static CONF_ERROR_MAX])
{
    return policy_read(path, text, ret, err);
}

int access_policy_reload(const char *path, struct access_policy **p,
                         char err[static CONF_ERROR_MAX])
{
    struct access_policy *fresh = NULL;
    int const rc = access_policy_load(path, &fresh, err);
    if (rc == 0) {
        access_policy_free(*p);
        *p = fresh;
    }
    return rc;
}

void access_policy_free(struct access_policy *p)
{
    if (p != NULL) {
        arena_done(&p->arena);
        mem_free(p);
    }
}
