"""The networks: generators, discriminators, classifiers and the router's head."""

from typing import Final

EMBEDDED: Final = "efficientnet_lite0"  # the classifier whose weights come with colorgan
JUDGE: Final = "efficientnet_lite2"  # used by no loss; its weights come with colorgan[judge]
