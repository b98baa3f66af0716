// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: conf_file
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/svc/conf_tree.h"

static struct arena arena;
static char err[CONF_ERROR_MAX];

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256, 1u << 20);
    err[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static const struct conf_tree *read_ok(const char *text)
{
    const struct conf_tree *root = NULL;
    if (conf_tree_read("t.conf", text, &arena, &root, err) != 0) {
        fail_msg("%s", err);
    }
    return root;
}

static void refused(const char *text, int rc, const char *message)
{
    const struct conf_tree *root = NULL;
    err[0] = '\0';
    assert_int_equal(conf_tree_read("t.conf", text, &arena, &root, err), rc);
    assert_null(root);
    if (strstr(err, message) == NULL) {
        fail_msg("\"%s\" is not in: %s", message, err);
    }
    assert_null(strchr(err, '\n'));
}

static void all_types_keep_value_name_and_line(void **state)
{
    (void)state;
    const struct conf_tree *const root = read_ok("\n\n# comment\nname = \"x\" \"y\";\n"
                                                 "n = -7; big = 9876543210L;\n"
                                                 "on = true;\nhalf = 0.5;\n"
                                                 "g = { a = 1; };\nlist = ( 1, \"two\",\n {} );\n");
    assert_int_equal(root->type, CONF_TREE_GROUP);
    assert_null(root->name);
    assert_int_equal(root->count, 7);
    const struct conf_tree *const name = conf_tree_find(root, "name");
    assert_int_equal(name->type, CONF_TREE_STRING);
    assert_string_equal(name->v.s, "xy");
    assert_int_equal(name->line, 4);
    assert_int_equal(conf_tree_find(root, "n")->v.i, -7);
    assert_true(conf_tree_find(root, "big")->v.i == INT64_C(9876543210));
    assert_int_equal(conf_tree_find(root, "big")->line, 5);
    assert_true(conf_tree_find(root, "on")->v.b);
    assert_true(conf_tree_find(root, "half")->v.f > 0.4);
    assert_int_equal(conf_tree_find(conf_tree_find(root, "g"), "a")->v.i, 1);
    const struct conf_tree *const list = conf_tree_find(root, "list");
    assert_int_equal(list->type, CONF_TREE_LIST);
    assert_int_equal(list->count, 3);
    assert_null(list->first->name);
    assert_string_equal(list->first->next->v.s, "two");
    assert_int_equal(list->first->next->next->type, CONF_TREE_GROUP);
    assert_int_equal(list->first->next->next->line, 10);
    assert_null(list->first->next->next->next);
}

static void entries_are_found_in_groups_only(void **state)
{
    (void)state;
    const struct conf_tree *const root = read_ok("a = 1;");
    assert_null(conf_tree_find(root, "b"));
    assert_null(conf_tree_find(conf_tree_find(root, "a"), "b"));
    assert_null(conf_tree_find(NULL, "b"));
}

static void errors_name_file_and_line(void **state)
{
    (void)state;
    refused("a = 1;\nb = \n;", -EINVAL, "t.conf:3: syntax error; look for");
    refused("a = 1;\na = 2;", -EINVAL, "t.conf:2: duplicate");
    refused("b = 1;\na = \"open\n\n", -EINVAL, "t.conf:2: the text that begins here");
    refused("b = 1;\n/* open\n", -EINVAL, "t.conf:2: the comment that begins here");
    refused("a={a={a={a={a={a={a={a={a={a=1}}}}}}}}};", -E2BIG, "more than 8 deep");
}

// What libconfig would do without a word: read another file, and cut numbers to 32 bits.
static void includes_and_cut_numbers_are_refused(void **state)
{
    (void)state;
    refused("a = 1;\n@include \"/etc/hostname\"\n", -EINVAL, "t.conf:2: @include is not followed");
    refused("# it's\na = 4294967297;", -EINVAL, "t.conf:2: this number is too large");
    refused("a = ( 1,\n0x100000001 );", -EINVAL, "t.conf:2: this number is too large");
    refused("a = -2147483649;", -EINVAL, "too large");
    refused("a = 11111111111111111111111111111111111111111111111111111111111;", -EINVAL,
            "too large");
    // Not in strings, comments, names, or where 64 bits or a float are meant.
    const struct conf_tree *const root =
        read_ok("a = \"@include \\\" 4294967297\"; // @ 4294967297\n/* @\n4294967297 */\n"
                "b = 4294967297L; c = 1e10; e1234567890123 = 2147483647; d = 0x7fffffff;");
    assert_true(conf_tree_find(root, "b")->v.i == INT64_C(4294967297));
    assert_int_equal(conf_tree_find(root, "d")->v.i, INT32_MAX);
    assert_int_equal(conf_tree_find(root, "e1234567890123")->line, 4);
}

static void a_wrong_name_is_told_the_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"server", "user", NULL};
    assert_true(conf_tree_names_known(read_ok("user = 1;"), names, "t.conf", err));
    assert_false(conf_tree_names_known(read_ok("\nservre = 1;"), names, "t.conf", err));
    assert_string_equal(err, "t.conf:2: there is no \"servre\" here; did you mean \"server\"?");
    assert_false(conf_tree_names_known(read_ok("xyzzyplugh = 1;"), names, "t.conf", err));
    assert_string_equal(err, "t.conf:1: there is no \"xyzzyplugh\" here; take it out");
}

static void a_message_stays_one_line(void **state)
{
    (void)state;
    const struct conf_tree *const root = read_ok("a = \"x\\n\\x1b[31m\";");
    assert_int_equal(conf_tree_fail(root->first, "t.conf", err, "no \"%s\"", root->first->v.s),
                     -EINVAL);
    assert_string_equal(err, "t.conf:1: no \"x??[31m\"");
}

static void files_are_read_and_what_cannot_be_is_said(void **state)
{
    (void)state;
    char path[] = "/tmp/foci-test-XXXXXX";
    int const fd = mkstemp(path);
    assert_true(fd >= 0);
    const struct conf_tree *root = NULL;
    static const char text[] = "\n\n a = 1;\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(conf_tree_read(path, NULL, &arena, &root, err), 0);
    assert_int_equal(root->first->line, 3); // empty lines at the start count
    root = NULL;
    assert_int_equal(write(fd, "\0b = 2;", 7), 7);
    assert_int_equal(conf_tree_read(path, NULL, &arena, &root, err), -EILSEQ);
    assert_non_null(strstr(err, "zero byte"));
    assert_int_equal(ftruncate(fd, CONF_TREE_TEXT_MAX + 1), 0);
    assert_int_equal(conf_tree_read(path, NULL, &arena, &root, err), -EFBIG);
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(conf_tree_read(path, NULL, &arena, &root, err), -ENOENT);
    assert_non_null(strstr(err, "cannot be read: No such file or directory; check"));
    assert_null(root);
}

static void a_small_arena_is_an_error_not_a_crash(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 600; cap += 7) {
        struct arena small;
        arena_init(&small, 64, cap);
        const struct conf_tree *root = NULL;
        int const rc =
            conf_tree_read("t.conf", "a = (1, \"text\", { b = 2; });", &small, &root, err);
        assert_true(rc == -E2BIG || (rc == 0 && root != NULL));
        arena_done(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_types_keep_value_name_and_line, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_are_found_in_groups_only, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_file_and_line, setup, teardown),
        cmocka_unit_test_setup_teardown(includes_and_cut_numbers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_name_is_told_the_nearest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_stays_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_read_and_what_cannot_be_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_arena_is_an_error_not_a_crash, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
