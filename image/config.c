/* The "config" part of an image's config (the OCI image specification 1.1, config.md), and users by
 * the image's own files (passwd(5), group(5)). */
#include "image/config.h"
#include "image/image.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *s)
{
    char *t = strdup(s);
    if (!t)
        image_fail("out of memory");
    return t;
}

/* A list of strings; one that is missing or null is empty. NULL: it is something else. */
static char **strings(const json_t *j)
{
    size_t n = json_array_size(j);
    char **list;
    if (j && !json_is_array(j) && !json_is_null(j))
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(j, i)))
            return NULL;
    list = calloc(n + 1, sizeof(char *));
    if (!list)
        image_fail("out of memory");
    for (size_t i = 0; i < n; i++)
        list[i] = copy(json_string_value(json_array_get(j, i)));
    return list;
}

static char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return copy(s ? s : "");
}

static const char *judge(const struct image_config *c)
{
    if (!c->env || !c->entrypoint || !c->cmd)
        return "its Env, Entrypoint or Cmd is no list of words";
    for (char **e = c->env; *e; e++)
        if (!strchr(*e, '=') || **e == '=')
            return "its Env has what is no NAME=VALUE";
    if ((c->entrypoint[0] && !*c->entrypoint[0]) || (c->cmd[0] && !*c->cmd[0]))
        return "its command has no name";
    if (*c->directory && *c->directory != '/')
        return "its WorkingDir is no absolute path";
    return NULL;
}

bool image_config_read(const char *said, size_t len, struct image_config *c, const char **wrong)
{
    json_error_t error;
    json_t *all = json_loadb(said, len, JSON_REJECT_DUPLICATES, &error);
    const json_t *j = json_object_get(all, "config");
    *wrong = NULL;
    memset(c, 0, sizeof(*c));
    if (!json_is_object(all) || (j && !json_is_object(j) && !json_is_null(j))) {
        *wrong = "it is no JSON object";
    } else {
        c->env = strings(json_object_get(j, "Env"));
        c->entrypoint = strings(json_object_get(j, "Entrypoint"));
        c->cmd = strings(json_object_get(j, "Cmd"));
        c->directory = text(j, "WorkingDir");
        c->user = text(j, "User");
        *wrong = judge(c);
    }
    json_decref(all);
    if (*wrong)
        image_config_free(c);
    return !*wrong;
}

static void free_strings(char **list)
{
    for (char **s = list; s && *s; s++)
        free(*s);
    free(list);
}

void image_config_free(struct image_config *c)
{
    free_strings(c->env);
    free_strings(c->entrypoint);
    free_strings(c->cmd);
    free(c->directory);
    free(c->user);
    memset(c, 0, sizeof(*c));
}

/* The whole of s as a number. */
static bool number(const char *s, uint32_t *n)
{
    char *end;
    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (*end || errno || v >= UINT32_MAX)
        return false;
    *n = (uint32_t)v;
    return true;
}

/* The field of a line "A:B:C:...", as a number. */
static bool number_field(const char *line, unsigned n, uint32_t *out)
{
    char word[16];
    size_t end = strcspn(line, "\n"), at = 0, len;
    for (; n; n--) {
        at += strcspn(line + at, ":\n");
        if (at >= end)
            return false;
        at++;
    }
    len = strcspn(line + at, ":\n");
    if (len >= sizeof(word))
        return false;
    memcpy(word, line + at, len);
    word[len] = 0;
    return number(word, out);
}

/* The line that begins with NAME:, or (by_id) whose third field is the number. */
static const char *find_line(const char *file, const char *name, bool by_id, uint32_t id)
{
    size_t len = strcspn(name, ":\n");
    uint32_t found;
    if (name[len])
        return NULL;
    for (; file && *file; file += strcspn(file, "\n"), file += *file == '\n')
        if (by_id ? number_field(file, 2, &found) && found == id
                  : !strncmp(file, name, len) && file[len] == ':')
            return file;
    return NULL;
}

bool image_user_find(const char *user, const char *passwd, const char *group, uint32_t *uid,
                     uint32_t *gid)
{
    char *name = copy(user), *of = strchr(name, ':');
    const char *line;
    bool ok;
    if (of)
        *of++ = 0;
    *uid = *gid = 0;
    ok = number(name, uid);
    line = find_line(passwd, name, ok, *uid);
    if (!ok)
        ok = *name && line && number_field(line, 2, uid);
    /* A number that has no line belongs to group 0. */
    if (ok && !of && line)
        ok = number_field(line, 3, gid);
    if (ok && of && !number(of, gid)) {
        line = find_line(group, of, false, 0);
        ok = *of && line && number_field(line, 2, gid);
    }
    free(name);
    return ok;
}

char *image_user_home(const char *passwd, uint32_t uid)
{
    const char *line = find_line(passwd, "", true, uid);
    size_t len;
    for (unsigned n = 0; line && n < 5; n++) {
        line += strcspn(line, ":\n");
        line = *line == ':' ? line + 1 : NULL;
    }
    if (!line || *line != '/')
        return copy("");
    len = strcspn(line, ":\n");
    char *home = strndup(line, len);
    if (!home)
        image_fail("out of memory");
    return home;
}
