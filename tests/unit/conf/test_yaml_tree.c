#include "conf/yaml_tree.h"

#include "base/strb.h"
#include "test.h"

#define ARENA_BYTES (16 << 20)

static int parse(struct slice text, struct arena *a, struct yaml_node **ret, struct fault *f)
{
    arena_init(a, ARENA_BYTES);
    *ret = NULL;
    *f = (struct fault){ 0 };
    return yaml_parse(text, "f.yml", a, ret, f);
}

TEST(a_document_becomes_a_tree_with_places)
{
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    CHECK_OK(
        parse(SLICE("# c\none: 1\ntwo:\n  - a\n  - {x: 'y z', t: \"\\t\"}\nthree: |\n  l1\n  l2\n"),
              &a, &root, &f));
    CHECK(root->kind == YAML_MAP && root->line == 2 && root->column == 1);
    const struct yaml_node *one = yaml_get(root, "one"), *two = yaml_get(root, "two");
    CHECK_SLICE(one->text, SLICE("1"));
    CHECK(one->is_plain && one->line == 2 && one->column == 6);
    CHECK(two->kind == YAML_LIST && two->first->next->kind == YAML_MAP);
    CHECK(two->first->next->next == NULL);
    const struct yaml_node *x = yaml_get(two->first->next, "x");
    CHECK_SLICE(x->text, SLICE("y z"));
    CHECK(!x->is_plain && x->line == 5);
    CHECK_SLICE(yaml_get(two->first->next, "t")->text, SLICE("\t"));
    CHECK_SLICE(yaml_get(root, "three")->text, SLICE("l1\nl2\n"));
    CHECK(yaml_get(root, "four") == NULL && yaml_get(NULL, "one") == NULL);
    CHECK(yaml_get(two, "one") == NULL && yaml_get(one, "one") == NULL);
    arena_done(&a);
}

TEST(an_empty_file_is_no_document)
{
    static const char *const EMPTY[] = { "", "\n", "# only a comment\n", "---\n...\n",
                                         "\xef\xbb\xbf" };
    for (size_t i = 0; i < sizeof EMPTY / sizeof EMPTY[0]; i++) {
        struct arena a;
        struct fault f;
        struct yaml_node *root;
        CHECK_OK(parse(slice_str(EMPTY[i]), &a, &root, &f));
        CHECK(root == NULL || yaml_is_null(root));
        arena_done(&a);
    }
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    CHECK_OK(parse((struct slice){ 0 }, &a, &root, &f));
    CHECK(root == NULL);
    arena_done(&a);
}

TEST(the_first_document_is_the_one)
{
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    CHECK_OK(parse(SLICE("a: 1\n---\na: 2\n"), &a, &root, &f));
    CHECK_SLICE(yaml_get(root, "a")->text, SLICE("1"));
    arena_done(&a);
}

TEST(an_alias_is_what_it_names)
{
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    CHECK_OK(parse(SLICE("a: &x {k: v}\nb: *x\nc: [*x, *x]\n"), &a, &root, &f));
    CHECK_SLICE(yaml_get(yaml_get(root, "b"), "k")->text, SLICE("v"));
    CHECK_SLICE(yaml_get(yaml_get(root, "c")->first->next, "k")->text, SLICE("v"));
    arena_done(&a);
}

TEST(what_is_broken_is_refused_with_its_place)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *part; /* of the fault's text */
    } BAD[] = {
        { "a: [", 2, "" },
        { "a: 1\nb: {x: 1\n", 3, "" },
        { "a: 'x\n", 2, "" },
        { "\ta: 1", 1, "" },
        { "a: *nope\n", 1, "alias" },
        { "a: 1\na: 2\n", 2, "twice: a" },
        { "x:\n  a: 1\n  b: 2\n  \"a\": 3\n", 4, "twice: a" },
        { "x: &m {a: 1}\ny:\n  <<: *m\n", 3, "merge" },
        { "? [a]\n: 1\n", 1, "key" },
        { "? {a: b}\n: 1\n", 1, "key" },
        { "a: &x [*x]\n", 1, "deep" }, /* it holds itself */
        { "&x {a: *x}\n", 1, "deep" },
        { "a: \"\\xg\"", 1, "" },
        { "a: b: c\n", 1, "" },
        { "%YAML 9.9\n---\na: 1\n", 1, "" },
        { "a: \x01\n", 0, "" },
        { "a: \xff\n", 0, "" },
        { "a: @x\n", 1, "" },
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct arena a;
        struct fault f;
        struct yaml_node *root;
        int r = parse(slice_str(BAD[i].text), &a, &root, &f);
        if (r != ERR_PARSE || root != NULL || f.code != r || f.text[0] == 0 ||
            strcmp(f.where, "f.yml") != 0 || strstr(f.text, BAD[i].part) == NULL ||
            (BAD[i].line > 0 && f.line != BAD[i].line))
            fail_msg("%s: %d, %s, line %u", BAD[i].text, r, f.text, f.line);
        arena_done(&a);
    }
    struct arena a;
    struct yaml_node *root;
    arena_init(&a, 10000);
    CHECK_ERR(ERR_PARSE, yaml_parse(SLICE("a: ["), "f", &a, &root, NULL)); /* nobody listens */
    arena_done(&a);
    struct fault f;
    CHECK_OK(parse(SLICE("'<<': 1\n"), &a, &root, &f)); /* in quotes it is a name */
    arena_done(&a);
}

/* Nine levels of nine aliases each: 387 million values from 300 bytes. */
TEST(a_bomb_of_aliases_does_not_go_off)
{
    struct strb s;
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    strb_init(&s, 10000);
    strb_str(&s, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++) {
        strb_fmt(&s, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            strb_fmt(&s, "%s*a%d", k > 0 ? "," : "", i - 1);
        strb_str(&s, "]\n");
    }
    int r = parse(strb_slice(&s), &a, &root, &f);
    CHECK_ERR(ERR_PARSE, r);
    CHECK(root == NULL && a.bytes <= ARENA_BYTES && strstr(f.text, "too many") != NULL);
    arena_done(&a);
    strb_done(&s);
    strb_str(&s, "a: &a ["); /* one list that names itself over and over */
    for (int k = 0; k < 1000; k++)
        strb_str(&s, "*a,");
    strb_str(&s, "]\n");
    CHECK_ERR(ERR_PARSE, parse(strb_slice(&s), &a, &root, &f));
    arena_done(&a);
    strb_done(&s);
}

static int parse_nested(size_t depth, const char *open, const char *close)
{
    struct strb s;
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    strb_init(&s, 1 << 20);
    for (size_t i = 0; i < depth; i++)
        strb_str(&s, open);
    strb_str(&s, "x");
    for (size_t i = 0; i < depth; i++)
        strb_str(&s, close);
    int r = parse(strb_slice(&s), &a, &root, &f);
    arena_done(&a);
    strb_done(&s);
    return r;
}

TEST(nesting_has_a_bound)
{
    CHECK_OK(parse_nested(YAML_DEPTH_MAX, "[", "]"));
    CHECK_ERR(ERR_PARSE, parse_nested(YAML_DEPTH_MAX + 1, "[", "]"));
    CHECK_OK(parse_nested(YAML_DEPTH_MAX, "{a: ", "}"));
    CHECK_ERR(ERR_PARSE, parse_nested(YAML_DEPTH_MAX + 1, "{a: ", "}"));
    CHECK_ERR(ERR_PARSE, parse_nested(50000, "[", "]"));
    CHECK_ERR(ERR_PARSE, parse_nested(100000, "- ", ""));
    CHECK_ERR(ERR_PARSE, parse_nested(50000, "? ", ""));
}

TEST(a_file_of_a_mebibyte_is_the_largest)
{
    static char text[YAML_BYTES_MAX + 1];
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    memset(text, 'x', sizeof text);
    CHECK_OK(parse(slice_of(text, YAML_BYTES_MAX), &a, &root, &f)); /* one huge scalar */
    CHECK(root->text.n == YAML_BYTES_MAX);
    arena_done(&a);
    CHECK_ERR(ERR_TOOLARGE, parse(slice_of(text, YAML_BYTES_MAX + 1), &a, &root, &f));
    arena_done(&a);
}

/* As many keys as fit: comparing each with all before it would take minutes. */
TEST(many_keys_are_told_apart_quickly)
{
    struct strb s;
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    strb_init(&s, YAML_BYTES_MAX);
    for (int i = 0; i < 90000; i++)
        strb_fmt(&s, "k%d: 1\n", i);
    arena_init(&a, 64 << 20);
    CHECK_OK(yaml_parse(strb_slice(&s), "f", &a, &root, &f));
    CHECK_SLICE(yaml_get(root, "k89999")->text, SLICE("1"));
    arena_done(&a);
    strb_str(&s, "k77: 2\n");
    arena_init(&a, 64 << 20);
    CHECK_ERR(ERR_PARSE, yaml_parse(strb_slice(&s), "f", &a, &root, &f));
    CHECK(f.line == 90001);
    arena_done(&a);
    for (int i = 0; i < 12000; i++)
        strb_str(&s, "z:\n");
    strb_done(&s);
    for (int i = 0; i <= YAML_NODES_MAX; i++)
        strb_str(&s, "- \n");
    arena_init(&a, 64 << 20);
    CHECK_ERR(ERR_PARSE, yaml_parse(strb_slice(&s), "f", &a, &root, &f));
    CHECK(strstr(f.text, "too many") != NULL);
    arena_done(&a);
    strb_done(&s);
}

/* Whatever room there is: all is there, or the file is refused. The last line is what does not fit
 * when all before it did: once its value, once its key. */
static void fit(struct slice text, const char *last_key, size_t last_bytes)
{
    bool fitted = false;
    for (size_t max = 0; max < 8000 && !fitted; max += 8) {
        struct arena a;
        struct fault f = { 0 };
        struct yaml_node *root = NULL;
        arena_init(&a, max);
        int r = yaml_parse(text, "f", &a, &root, &f);
        fitted = r == 0;
        if (fitted) {
            const struct yaml_node *last = yaml_get(root, last_key);
            assert_true(last != NULL && last->text.n == last_bytes);
            assert_true(slice_eq(yaml_get(yaml_get(root, "second"), "x")->text, SLICE("y")));
        } else {
            assert_int_equal(r, ERR_LIMIT);
            assert_true(root == NULL && f.code == ERR_LIMIT);
        }
        arena_done(&a);
    }
    assert_true(fitted);
}

TEST(a_file_that_does_not_fit_is_refused_whole)
{
    char text[700], name[301];
    memset(name, 'n', 300);
    name[300] = 0;
    (void)snprintf(text, sizeof text, "first: &t {x: y}\nsecond: *t\nlast: %s\n", name);
    fit(slice_str(text), "last", 300);
    (void)snprintf(text, sizeof text, "first: &t {x: y}\nsecond: *t\n? %s\n: v\n", name);
    fit(slice_str(text), name, 1);
    CHECK(true);
}

TEST(truth_and_nothing_have_their_words)
{
    static const char *const YES[] = { "true", "True", "TRUE", "yes", "on", "y" };
    static const char *const NO[] = { "false", "False", "FALSE", "no", "off", "n" };
    static const char *const NEITHER[] = { "'true'", "\"no\"", "tRUE", "1",     "0",
                                           "~",      "[]",     "{}",   "truely" };
    struct arena a;
    struct fault f;
    struct yaml_node *root;
    bool truth;
    for (size_t i = 0; i < 6; i++) {
        CHECK_OK(parse(slice_str(YES[i]), &a, &root, &f));
        CHECK(yaml_bool(root, &truth) == 0 && truth && !yaml_is_null(root));
        arena_done(&a);
        CHECK_OK(parse(slice_str(NO[i]), &a, &root, &f));
        CHECK(yaml_bool(root, &truth) == 0 && !truth);
        arena_done(&a);
    }
    for (size_t i = 0; i < 9; i++) {
        CHECK_OK(parse(slice_str(NEITHER[i]), &a, &root, &f));
        CHECK_ERR(ERR_PARSE, yaml_bool(root, &truth));
        CHECK(yaml_is_null(root) == (i == 5));
        arena_done(&a);
    }
    CHECK_OK(parse(SLICE("a:\nb: null\nc: ''\nd: 'null'\ne: NULL\n"), &a, &root, &f));
    CHECK(yaml_is_null(yaml_get(root, "a")) && yaml_is_null(yaml_get(root, "b")));
    CHECK(!yaml_is_null(yaml_get(root, "c")) && !yaml_is_null(yaml_get(root, "d")));
    CHECK(yaml_is_null(yaml_get(root, "e")) && !yaml_is_null(root));
    CHECK_ERR(ERR_RANGE, yaml_fault(&f, ERR_RANGE, "w", yaml_get(root, "b"), "text"));
    CHECK(f.line == 2 && f.column == 4 && strcmp(f.where, "w") == 0 && strcmp(f.text, "text") == 0);
    arena_done(&a);
}

TEST(a_copy_outlives_its_tree_or_is_not_made)
{
    char text[400], last[301]; /* long: what does not fit when all before it did */
    struct arena a, to;
    struct fault f;
    struct yaml_node *root, *copy = NULL;
    bool fitted = false;
    memset(last, 'w', 300);
    last[300] = 0;
    (void)snprintf(text, sizeof text, "a: &x {k: [v, ~, '%s']}\nb: *x\nc:\n", last);
    for (size_t max = 0; max < 8000 && !fitted; max += 8) {
        CHECK_OK(parse(slice_str(text), &a, &root, &f));
        arena_init(&to, max);
        copy = yaml_copy(yaml_get(root, "b"), &to); /* without what stands behind it */
        arena_done(&a);
        fitted = copy != NULL;
        if (fitted) {
            const struct yaml_node *k = yaml_get(copy, "k");
            CHECK(copy->next == NULL && k->kind == YAML_LIST && k->line == 1);
            CHECK_SLICE(copy->key, SLICE("b"));
            CHECK_SLICE(k->first->next->next->text, slice_str(last));
            CHECK(!k->first->next->next->is_plain && yaml_is_null(k->first->next));
            CHECK(k->first->next->next->next == NULL);
        }
        arena_done(&to);
    }
    CHECK(fitted);
    arena_init(&to, 1000);
    CHECK(yaml_copy(NULL, &to) == NULL);
    arena_done(&to);
}

TEST(every_prefix_is_read_or_refused)
{
    static const char TEXT[] = "a: &x [1, 'two', \"th\\u0072ee\"]\nb: {c: *x, d: !!str 4}\n"
                               "e: |-\n  text\n\xef\xbb\xbf? f\n: >+\n  g\n...\n";
    for (size_t n = 0; n < sizeof TEXT; n++) {
        struct arena a;
        struct fault f;
        struct yaml_node *root;
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, TEXT, n);
        int r = parse(slice_of(copy, n), &a, &root, &f);
        CHECK(r == 0 || (r == ERR_PARSE && f.text[0] != 0));
        arena_done(&a);
        free(copy);
    }
}

TEST(a_tab_that_indents_is_called_by_its_name)
{
    static const struct {
        const char *text;
        bool is_tab;
    } CASES[] = { { "a:\n\tb: 1\n", true },
                  { "\xc3\xa4: \xc3\xa4\na:\n  \tb: 1\n", true },
                  { "a: [\n", false } };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct arena a;
        struct yaml_node *root = NULL;
        struct fault f = { 0 };
        arena_init(&a, 1 << 20);
        CHECK_ERR(ERR_PARSE, yaml_parse(slice_str(CASES[i].text), "x", &a, &root, &f));
        CHECK((strstr(f.text, "there is a tab") != NULL) == CASES[i].is_tab);
        arena_done(&a);
    }
}

TEST(a_key_has_a_place_of_its_own)
{
    struct arena a;
    struct yaml_node *root = NULL;
    struct fault f = { 0 };
    arena_init(&a, 1 << 20);
    CHECK_OK(yaml_parse(SLICE("a: 1\nb:\n  cd: x\n"), "x", &a, &root, &f));
    const struct yaml_node *cd = yaml_get(yaml_get(root, "b"), "cd");
    CHECK(cd->key_line == 3 && cd->key_column == 3 && cd->line == 3 && cd->column == 7);
    arena_done(&a);
}

TEST(every_key_that_is_refused_is_told_and_the_rest_is_read)
{
    static const char TEXT[] = "a: 1\nb: {x: 1, x: 2}\na: 3\n? [k]\n: 4\n<<: {}\nc: 5\n";
    static const struct yaml_complaint WANTED[] = { { 2, 11, "this key is there twice: x", 2 },
                                                    { 3, 1, "this key is there twice: a", 1 },
                                                    { 4, 3, "a key must be a plain text", 0 },
                                                    { 6, 1,
                                                      "merge keys (<<) are not supported: "
                                                      "write them out",
                                                      0 } };
    struct arena a;
    struct yaml_node *root = NULL;
    struct yaml_complaints all;
    struct fault f = { 0 };
    arena_init(&a, 1 << 20);
    CHECK_ERR(ERR_PARSE, yaml_parse_all(SLICE(TEXT), "x", &a, &root, &all, &f));
    CHECK(all.count == sizeof WANTED / sizeof WANTED[0]);
    for (size_t i = 0; i < all.count; i++) {
        CHECK(all.list[i].line == WANTED[i].line && all.list[i].column == WANTED[i].column);
        CHECK(all.list[i].first_line == WANTED[i].first_line);
        assert_string_equal(all.list[i].text, WANTED[i].text);
    }
    CHECK(f.line == 2 && strcmp(f.text, WANTED[0].text) == 0);
    CHECK_SLICE(yaml_get(root, "a")->text, SLICE("1"));
    CHECK_SLICE(yaml_get(yaml_get(root, "b"), "x")->text, SLICE("1"));
    CHECK_SLICE(yaml_get(root, "c")->text, SLICE("5"));
    CHECK_OK(yaml_parse_all(SLICE("a: 1\n"), "x", &a, &root, &all, &f));
    CHECK(all.count == 0);
    arena_done(&a);
}

TEST(more_complaints_than_anybody_reads_are_not_kept)
{
    struct strb s;
    struct arena a;
    struct yaml_node *root = NULL;
    struct yaml_complaints all;
    struct fault f = { 0 };
    strb_init(&s, 65536);
    for (int i = 0; i < YAML_COMPLAINTS_MAX + 50; i++)
        strb_str(&s, "a: 1\n");
    arena_init(&a, 1 << 20);
    CHECK_ERR(ERR_PARSE, yaml_parse_all(strb_slice(&s), "x", &a, &root, &all, &f));
    CHECK(all.count == YAML_COMPLAINTS_MAX && root != NULL);
    arena_done(&a);
    strb_done(&s);
}

TEST(what_stands_before_a_mistake_is_read_as_a_file)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct yaml_node *root = yaml_parse_before(SLICE("a: 1\nb: [2,\n3\nc: @\n"), 4, &a);
    CHECK_SLICE(yaml_get(root, "a")->text, SLICE("1"));
    CHECK(root->first->next == NULL); /* the open list is no part of it */
    CHECK(yaml_parse_before(SLICE("a: @\n"), 1, &a) == NULL);
    CHECK(yaml_parse_before(SLICE("[\n[\n[\n@"), 4, &a) == NULL);
    CHECK(yaml_parse_before(SLICE(""), 9, &a) == NULL);
    arena_done(&a);
}

TESTS(RUN(every_key_that_is_refused_is_told_and_the_rest_is_read),
      RUN(more_complaints_than_anybody_reads_are_not_kept),
      RUN(what_stands_before_a_mistake_is_read_as_a_file),
      RUN(a_tab_that_indents_is_called_by_its_name), RUN(a_key_has_a_place_of_its_own),
      RUN(a_document_becomes_a_tree_with_places), RUN(an_empty_file_is_no_document),
      RUN(the_first_document_is_the_one), RUN(an_alias_is_what_it_names),
      RUN(what_is_broken_is_refused_with_its_place), RUN(a_bomb_of_aliases_does_not_go_off),
      RUN(nesting_has_a_bound), RUN(a_file_of_a_mebibyte_is_the_largest),
      RUN(many_keys_are_told_apart_quickly), RUN(a_file_that_does_not_fit_is_refused_whole),
      RUN(truth_and_nothing_have_their_words), RUN(a_copy_outlives_its_tree_or_is_not_made),
      RUN(every_prefix_is_read_or_refused))
