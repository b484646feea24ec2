/* `fuss image` alone, to be built with the sanitizers. */
#include "image/image.h"

int main(int argc, char **argv)
{
    return image_main(argc - 1, argv + 1);
}
