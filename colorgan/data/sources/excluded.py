"""The reasons for which a source leaves out listed photographs, as they are counted."""

NO_ADDRESS = "not an address"
NO_CLASS = "of no class"
NO_SPLIT = "in no split"
MIXED = "mixed"  # belongs to more than one class
TOO_SMALL = "too small an object"
NOT_LISTED = "not among the images"
NO_LIST = "synset without list"
NO_ARCHIVE = "synset without archive"
BROKEN_ARCHIVE = "synset with a broken archive"
NO_FOLDER = "in no class's folder"
