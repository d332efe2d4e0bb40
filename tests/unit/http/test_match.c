#include "http/match.h"

#include <pthread.h>

#include "test.h"

/* What Go's regexp says of each: 1 found, 0 not found, -1 refused. */
static const struct {
    const char *pattern, *text;
    int want;
} CASES[] = {
    { "", "anything", 1 },
    { "\\.(jpg|png|css|js)$", "/a/b.css", 1 },
    { "\\.(jpg|png|css|js)$", "/a/b.css?x", 0 },
    { "^/api/", "/api/x", 1 },
    { "^/api/", "/x/api/", 0 },
    { "a$", "a\n", 0 }, /* $ is the end of the text alone */
    { "(?m)a$", "a\nb", 1 },
    { "(?m)^b", "a\nb", 1 },
    { "(?m)^$", "a\n", 1 }, /* behind the last line's end too */
    { "^b", "a\nb", 0 },
    { "a.b", "a\nb", 0 },
    { "(?s)a.b", "a\nb", 1 },
    { "a.b", "a\rb", 1 }, /* LF alone ends a line */
    { "(?i)STRASSE", "strasse", 1 },
    { "(?i:A)b", "ab", 1 },
    { "(?i:A)b", "aB", 0 },
    { "(?U)a+", "aa", 1 },
    { "(?i-s)x", "X", 1 },
    { "(?P<name>a)(?<other>b)", "ab", 1 },
    { "()", "", 1 },
    /* spellings that PCRE2 takes for something else */
    { "\\v", "\v", 1 },
    { "\\v", "\n", 0 },
    { "^\\s$", "\v", 0 },
    { "^[\\s]$", "\v", 0 },
    { "^\\S$", "\v", 1 },
    { "^[\\S]$", "\v", 1 },
    { "^[\\S]$", " ", 0 },
    { "[[:space:]]", "\v", 1 },
    { "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\\12", "abcdefghij\n", 1 }, /* octal, no back-reference */
    { "\\012", "\n", 1 },
    { "\\0", "x", 0 },
    { "x{,2}y", "x{,2}y", 1 },
    { "^x{,2}y", "xxy", 0 },
    { "^a{01}$", "a{01}", 1 },
    { "^a{01}$", "a", 0 },
    { "a{1,2,3}", "a{1,2,3}", 1 },
    { "a{", "a{", 1 },
    { "a{}", "a{}", 1 },
    { "^a{2,3}$", "aaa", 1 },
    { "^a{2,3}$", "aaaa", 0 },
    { "^a{2,}$", "aaaa", 1 },
    { "^*a", "a", 1 },
    { "\\b+a", "a", 1 },
    { "\\Qa.b\\E+", "a.bb", 1 },
    { "\\Qa.b", "axb", 0 },
    { "\\Q\\n\\E", "\\n", 1 },
    { "\\_\\-\\ \\<\\/", "_- </", 1 },
    { "\\x41\\x{20ac}", "A\xe2\x82\xac", 1 },
    { "\\a\\f\\t\\n\\r", "\a\f\t\n\r", 1 },
    { "\\z", "", 1 },
    { "a\\z", "a\n", 0 },
    { "\\Aa", "ba", 0 },
    /* characters and their kinds */
    { "^.$", "\xc3\xa9", 1 },
    { "\\w", "\xc3\xa9", 0 },
    { "\\d", "\xd9\xa3", 0 },
    { "\\pL", "\xc3\xa9", 1 },
    { "\\p{Greek}", "\xce\xb1", 1 },
    { "\\P{Greek}", "\xce\xb1", 0 },
    { "\\p{^Greek}", "\xce\xb1", 0 },
    { "[\\p{Lu}]", "a", 0 },
    { "\xce\xb1", "\xce\xb1", 1 },
    { "^\xe2\x82\xac?$", "\xe2\x82", 0 },
    { "\\.jpg$", "/\xff.jpg", 1 }, /* a byte that is no UTF-8 hides nothing */
    { "^/.\\.jpg$", "/\xff.jpg", 1 },
    { "^/\\x{fffd}{2}$", "/\xe2\x82", 1 },
    { "a\\x{0}b", "a", 0 },
    /* classes */
    { "[]a]", "]", 1 },
    { "[^]a]", "]", 0 },
    { "[a-]", "-", 1 },
    { "[-a]", "-", 1 },
    { "[a\\-c]", "b", 0 },
    { "[a-c-e]", "-", 1 },
    { "[^a]", "\n", 1 },
    { "[[:alpha:]_]", "_", 1 },
    { "[[:^digit:]]", "1", 0 },
    { "[[:alpha:](?=x]", "(", 1 },
    { "[[:al]", ":", 1 },
    { "[&&]", "&", 1 },
    { "[\\x41-\\x43]", "B", 1 },
    { "[.*+?(){}|^$\\\\]", "\\", 1 },
    { "[[=a]", "=", 1 },
    { "[\\W[:space:]]", "\xce\xb1", 1 },
    { "[\\D[:space:]]", "\xce\xb1", 1 },
    { "[\\D]", "7", 0 },
    { "[\\W]", "_", 0 },
    { "(?i)[\\W]", "s", 0 },
    /* what Go has not */
    { "(?=a)", "a", -1 },
    { "(?!a)", "a", -1 },
    { "(?<=a)b", "ab", -1 },
    { "(?<!a)b", "b", -1 },
    { "(?>a)", "a", -1 },
    { "(?#x)a", "a", -1 },
    { "(?x)a", "a", -1 },
    { "(?J)a", "a", -1 },
    { "(?^i)a", "a", -1 },
    { "(?|a)", "a", -1 },
    { "(?R)", "a", -1 },
    { "(?1)", "a", -1 },
    { "(?&n)", "a", -1 },
    { "(?P=n)", "a", -1 },
    { "(?P>n)", "a", -1 },
    { "(?'n'a)", "a", -1 },
    { "(?P<n>a)(?P<n>b)", "ab", -1 },
    { "(?P<>a)", "a", -1 },
    { "(?P<n", "a", -1 },
    { "(?(1)a)", "a", -1 },
    { "(?C1)", "a", -1 },
    { "(?-)", "a", -1 },
    { "(?i", "a", -1 },
    { "(?--i)", "a", -1 },
    { "(?", "a", -1 },
    { "(*ACCEPT)", "a", -1 },
    { "(*UTF)a", "a", -1 },
    { "(*)", "a", -1 },
    { "a++", "aa", -1 },
    { "a*+", "aa", -1 },
    { "a**", "aa", -1 },
    { "a?\?+", "aa", -1 },
    { "a*\?\?", "aa", -1 },
    { "a{2}{3}", "aa", -1 },
    { "a{1001}", "a", -1 },
    { "a{2,1}", "a", -1 },
    { "a{99999999999999999999}", "a", -1 },
    { "*a", "a", -1 },
    { "a|*", "a", -1 },
    { "(a", "a", -1 },
    { "a)", "a", -1 },
    { "[a", "a", -1 },
    { "[]", "a", -1 },
    { "[^]", "a", -1 },
    { "[z-a]", "a", -1 },
    { "[a-\\d]", "a", -1 },
    { "[[:nope:]]", "a", -1 },
    { "[[:<:]]", "a", -1 },
    { "[\\Q]\\E]", "a", -1 },
    { "[\\b]", "a", -1 },
    { "\\1", "a", -1 },
    { "(a)\\1", "aa", -1 },
    { "\\8", "8", -1 },
    { "\\g1", "a", -1 },
    { "\\k<n>", "a", -1 },
    { "\\C", "a", -1 },
    { "\\K", "a", -1 },
    { "\\R", "a", -1 },
    { "\\X", "a", -1 },
    { "\\h", "a", -1 },
    { "\\N", "a", -1 },
    { "\\G", "a", -1 },
    { "\\Z", "a", -1 },
    { "\\E", "a", -1 },
    { "\\c", "a", -1 },
    { "\\e", "a", -1 },
    { "\\u0041", "a", -1 },
    { "\\x", "a", -1 },
    { "\\x4", "a", -1 },
    { "\\x{}", "a", -1 },
    { "\\x{110000}", "a", -1 },
    { "\\x{41", "a", -1 },
    { "\\p", "a", -1 },
    { "\\p{", "a", -1 },
    { "\\p{}", "a", -1 },
    { "\\p{L", "a", -1 },
    { "\\p{Xan}", "a", -1 },
    { "\\p{L&}", "a", -1 },
    { "\\p{sc:Greek}", "a", -1 },
    { "\\p{Nonsense}", "a", -1 },
    { "\\", "a", -1 },
    { "\xff", "a", -1 },
    { "\xed\xa0\x80", "a", -1 },
    /* what Go has and we cannot say alike */
    { "\\p{C}", "a", -1 },
    { "(?i)\\p{Lu}", "a", -1 },
};

static int verdict(struct slice pattern, struct slice text)
{
    struct regex *r = NULL;
    struct fault f = { 0 };
    int e = regex_new(pattern, &r, &f);
    if (e < 0) {
        assert_int_equal(f.code, e);
        assert_int_equal(e, ERR_PARSE);
        assert_true(strncmp(f.text, "error parsing regexp: ", 22) == 0);
        assert_null(r);
        return -1;
    }
    bool found = regex_matches(r, text);
    regex_free(r);
    return found;
}

TEST(a_pattern_means_what_it_means_in_go)
{
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int got = verdict(slice_str(CASES[i].pattern), slice_str(CASES[i].text));
        if (got != CASES[i].want)
            fail_msg("%s on %s: %d, want %d", CASES[i].pattern, CASES[i].text, got, CASES[i].want);
    }
    CHECK(verdict(SLICE("a\0b"), SLICE("a\0b")) == 1 && verdict(SLICE("a\0b"), SLICE("a")) == 0);
    CHECK(verdict(SLICE("^\\x00$"), SLICE("\0")) == 1);
}

/* Every prefix of every pattern is accepted or refused, and never read past its end. */
TEST(a_pattern_may_be_cut_anywhere)
{
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (size_t n = 0; n <= strlen(CASES[i].pattern); n++) {
            uint8_t *copy = malloc(n + (n == 0));
            memcpy(copy, CASES[i].pattern, n);
            (void)verdict(slice_of(copy, n), SLICE("aab"));
            free(copy);
        }
    CHECK(true);
}

TEST(a_pattern_is_bounded)
{
    static char text[5000];
    struct regex *r = NULL;
    struct fault f = { 0 };
    memset(text, 'a', sizeof text);
    CHECK_OK(regex_new(slice_of(text, 4096), &r, &f));
    regex_free(r);
    CHECK_ERR(ERR_TOOLARGE, regex_new(slice_of(text, 4097), &r, &f));
    CHECK(strstr(f.text, "too long") != NULL);
    CHECK_ERR(ERR_TOOLARGE, regex_new(slice_of(text, 4097), &r, NULL));
    for (size_t i = 0; i + 4 <= 4096; i += 4) /* the longest translation */
        memcpy(text + i, "\xf4\x8f\xbf\xbf", 4);
    CHECK_OK(regex_new(slice_of(text, 4096), &r, &f));
    regex_free(r);
    memset(text, '(', 2000);
    memset(text + 2000, ')', 2000);
    CHECK_ERR(ERR_PARSE, regex_new(slice_of(text, 4000), &r, &f));
    CHECK_ERR(ERR_PARSE, regex_new(SLICE("((a{900}){900}){900}"), &r, &f));
    regex_free(NULL);
}

/* Each of these would take longer than anybody waits, were the search not bounded. */
TEST(a_search_that_explodes_finds_nothing)
{
    static const char *const PATTERNS[] = {
        "^(a+)+$",           "^(a|aa)+$",          "^(a|a?)+$", "^(.*a){20}$",
        "^([a-z]+.?)*\\.x$", "^(a*)*(a*)*(a*)*b$", "(x+x+)+y",  "^(?:a?){30}a{30}$",
    };
    static char text[32768];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '!';
    for (size_t i = 0; i < sizeof PATTERNS / sizeof PATTERNS[0]; i++) {
        struct regex *r;
        CHECK_OK(regex_new(slice_str(PATTERNS[i]), &r, NULL));
        CHECK(!regex_matches(r, slice_of(text, sizeof text)));
        CHECK(!regex_matches(r, slice_of(text + sizeof text - 60, 60)));
        regex_free(r);
    }
    struct regex *r;
    CHECK_OK(regex_new(SLICE("^(a+)+$"), &r, NULL));
    CHECK(regex_matches(r, slice_of(text, 100))); /* what can be found still is */
    regex_free(r);
}

/* The compiled form's own stack is small; a long text must not be lost for it. */
TEST(a_long_text_is_searched_to_its_end)
{
    static char text[20000];
    struct regex *r;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 == 0 ? 'a' : 'b';
    text[sizeof text - 1] = 'c';
    CHECK_OK(regex_new(SLICE("^(?:(a)|(b))*c$"), &r, NULL));
    CHECK(regex_matches(r, slice_of(text, sizeof text)));
    text[sizeof text - 1] = 'd';
    CHECK(!regex_matches(r, slice_of(text, sizeof text)));
    regex_free(r);
}

static void *search(void *r)
{
    for (int i = 0; i < 2000; i++)
        assert_true(regex_matches(r, SLICE("/some/path.jpg")) &&
                    !regex_matches(r, SLICE("/some/path.jp")));
    return NULL;
}

TEST(threads_share_one_pattern)
{
    struct regex *r;
    pthread_t threads[4];
    CHECK_OK(regex_new(SLICE("\\.(jpg|png)$"), &r, NULL));
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, search, r) == 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    regex_free(r);
}

TEST(a_hostname_has_its_ascii_form)
{
    static const struct {
        const char *name, *ascii;
    } NAMES[] = {
        { "example.com", NULL }, /* the same */
        { "m\xc3\xbcnchen.example", "xn--mnchen-3ya.example" },
        { "M\xc3\x9cNCHEN.example", "xn--mnchen-3ya.example" },
        { "stra\xc3\x9f"
          "e.example",
          "xn--strae-oqa.example" }, /* non-transitional */
        { "\xce\xb2\xcf\x8c\xce\xbb\xce\xbf\xcf\x82.example", "xn--nxasmm1c.example" },
        { "a\xe3\x80\x82"
          "b",
          "a.b" }, /* the ideographic full stop */
        { "", NULL },
        { "\xff.example", NULL },
    };
    struct arena a;
    arena_init(&a, 100000);
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const char *got = idna_ascii(slice_str(NAMES[i].name), &a);
        CHECK_SLICE(slice_str(got), slice_str(NAMES[i].ascii));
    }
    CHECK(idna_ascii(SLICE("a\0b"), &a) == NULL);
    char name[300];
    memset(name, 'a', sizeof name);
    memcpy(name, "\xc3\xbc", 2);
    CHECK(idna_ascii(slice_of(name, sizeof name), &a) == NULL);
    arena_done(&a);
    arena_init(&a, 8);
    CHECK(idna_ascii(SLICE("m\xc3\xbcnchen.example"), &a) == NULL);
    arena_done(&a);
}

TEST(a_match_has_its_place_and_its_groups)
{
    struct regex *re;
    struct slice groups[4], text = SLICE("/v1/item/7");
    CHECK_OK(regex_new(SLICE("/(x)?(i[a-z]+)/([0-9])"), &re, NULL));
    CHECK(regex_groups(re) == 3);
    CHECK_OK(regex_find(re, text, groups, 4));
    CHECK(groups[0].p == text.p + 3 && groups[0].n == 7);
    CHECK(groups[1].p == NULL && groups[1].n == 0);
    CHECK_SLICE(groups[2], SLICE("item"));
    CHECK_SLICE(groups[3], SLICE("7"));
    CHECK_OK(regex_find(re, text, groups, 3)); /* more groups than are wanted */
    CHECK_SLICE(groups[2], SLICE("item"));
    CHECK_ERR(ERR_NOTFOUND, regex_find(re, SLICE("/v1/item/x"), groups, 4));
    CHECK(groups[0].p == NULL);
    CHECK_ERR(ERR_PARSE, regex_find(re, SLICE("/item/7\xff"), groups, 4));
    regex_free(re);
    CHECK_OK(regex_new(SLICE("$"), &re, NULL));
    CHECK_OK(regex_find(re, (struct slice){ 0 }, groups, 4));
    CHECK(groups[0].p != NULL && groups[0].n == 0);
    regex_free(re);
}

TESTS(RUN(a_match_has_its_place_and_its_groups), RUN(a_pattern_means_what_it_means_in_go),
      RUN(a_pattern_may_be_cut_anywhere), RUN(a_pattern_is_bounded),
      RUN(a_search_that_explodes_finds_nothing), RUN(a_long_text_is_searched_to_its_end),
      RUN(threads_share_one_pattern), RUN(a_hostname_has_its_ascii_form))
