#include "tracer/container.h"
#include "image/config.h"
#include "image/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_path[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* Of the user's own environment nothing else means the same in another root. */
static const char *const passed[] = {"TERM",        "COLORTERM", "NO_COLOR", "http_proxy",
                                     "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY",
                                     "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"};

static void *need(void *p)
{
    if (!p)
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    return p;
}

static unsigned count(char *const *list)
{
    unsigned n = 0;
    while (list[n])
        n++;
    return n;
}

static bool has(const char **env, unsigned n, const char *name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < n; i++)
        if (strncmp(env[i], name, len) == 0 && env[i][len] == '=')
            return true;
    return false;
}

/* What is said later counts: the user's own, the image's, what is --env's. */
static void set_environment(struct options *o, const struct image_config *c, const char *home)
{
    const char **env =
        need(calloc(ARRAY_LEN(passed) + count(c->env) + o->nenv + 2, sizeof(char *)));
    unsigned n = 0;
    char *word;
    for (unsigned i = 0; i < ARRAY_LEN(passed) && !o->clear_env; i++) {
        const char *value = getenv(passed[i]);
        if (value) {
            need(asprintf(&word, "%s=%s", passed[i], value) < 0 ? NULL : word);
            env[n++] = word;
        }
    }
    for (char **e = c->env; *e; e++)
        env[n++] = *e;
    for (unsigned i = 0; i < o->nenv; i++)
        env[n++] = o->env[i];
    if (!has(env, n, "PATH"))
        env[n++] = default_path;
    if (!has(env, n, "HOME")) {
        need(asprintf(&word, "HOME=%s", home[0] ? home : "/") < 0 ? NULL : word);
        env[n++] = word;
    }
    o->env = env;
    o->nenv = n;
    o->clear_env = true;
}

/* The entry point with its arguments: those that were said, else the image's own. */
static void set_command(struct options *o, const struct image_config *c)
{
    unsigned said = count(o->command), words = count(c->entrypoint), own = count(c->cmd), n = 0;
    char **argv = need(calloc(said + words + own + 2, sizeof(char *)));
    if (o->entrypoint && o->entrypoint[0])
        argv[n++] = (char *)o->entrypoint;
    for (unsigned i = 0; i < words && !o->entrypoint; i++)
        argv[n++] = c->entrypoint[i];
    for (unsigned i = 0; i < said; i++)
        argv[n++] = o->command[i];
    /* Another entry point does not know the image's arguments. */
    for (unsigned i = 0; i < own && !said && !o->entrypoint; i++)
        argv[n++] = c->cmd[i];
    o->command = argv;
}

/* Whom the command is to run as, if no flag said so; his home directory, to be freed. */
static char *set_user(struct options *o, const struct image_config *c, char *const *lower,
                      unsigned nlowers)
{
    char *passwd = image_cached_file(lower, nlowers, "etc/passwd");
    char *group = image_cached_file(lower, nlowers, "etc/group"), *home;
    uint32_t uid = geteuid(), gid = getegid();
    if (o->id_said) {
        uid = o->fake_uid;
    } else if (c->user[0]) {
        if (!image_user_find(c->user, passwd, group, &uid, &gid))
            die(EXIT_FUSS, "the image's user %s is not in its /etc/passwd or /etc/group", c->user);
        options_be(o, uid, gid);
    }
    home = image_user_home(passwd, uid);
    if (!home[0] && uid == 0) {
        free(home);
        home = need(strdup("/root"));
    }
    free(passwd);
    free(group);
    return home;
}

void container_apply(struct options *o, const struct options *file)
{
    static struct image im;
    struct image_config config;
    char *lower[IMAGE_LAYERS_MAX];
    const char *wrong;
    if (!o->image) {
        if (o->entrypoint)
            die(EXIT_USAGE, "--entrypoint: of no use without an image; add --image=oci:DIR[:TAG]");
        return;
    }
    if (strncmp(o->image, "oci:", 4) != 0 && strncmp(o->image, "docker-archive:", 15) != 0)
        die(EXIT_USAGE, "--image: neither oci:DIR[:TAG] nor docker-archive:FILE: %s", o->image);
    if (o->nlowers && o->lowerdir[0] != file->lowerdir[0])
        die(EXIT_USAGE, "--image and --lowerdir: take one of them");
    image_open(&im, o->image);
    if (!image_config_read(im.config, im.config_len, &config, &wrong))
        die(EXIT_FUSS, "%s: the image's config cannot be used: %s", o->image, wrong);
    image_cached(&im, lower);
    o->nlowers = 0;
    for (unsigned i = 0; i < im.nlayers; i++) {
        bool twice = false; /* the same layer again, lower down, adds nothing */
        for (unsigned k = 0; k < i && !twice; k++)
            twice = strcmp(lower[k], lower[i]) == 0;
        if (!twice)
            options_add_lower(o, lower[i], "--image");
    }
    if (o->mountpoint == file->mountpoint)
        o->mountpoint = "/";
    /* Elsewhere than at "/" the command is the host's. */
    if (strcmp(o->mountpoint, "/") != 0)
        return;
    char *home = set_user(o, &config, lower, im.nlayers);
    set_environment(o, &config, home);
    free(home);
    set_command(o, &config);
    if (!o->directory)
        o->directory = config.directory[0] ? config.directory : "/";
}
