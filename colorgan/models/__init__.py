"""The networks."""

from typing import Final

EMBEDDED: Final = "efficientnet_lite0"  # the classifier whose weights come with colorgan
JUDGE: Final = "efficientnet_lite2"  # one that no loss uses; weights come with colorgan[judge]
