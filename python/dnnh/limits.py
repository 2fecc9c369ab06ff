"""Limits of input files and requests.

Everything that is read is hostile until checked: what a file declares is compared with these
limits, and with the file's own size, before memory is taken for it. A limit is several times
what the largest known input of its kind has.
"""

# --- files -------------------------------------------------------------------------------

# A file that is read as a whole, and a member of an archive. The largest that any data set
# has is a batch of CIFAR-10, 31 MB.
FILE_BYTES = 64_000_000
# A description of ours (layout.json, result.json, about.json): some 10 KB.
JSON_BYTES = 4_000_000
# A training log: 1 MB for 70,000 iterations that are displayed every 100.
LOG_BYTES = 1_000_000_000
# Trained weights; protobuf itself reads no more.
WEIGHTS_BYTES = 2_147_483_647
# Of a model file: of layers and their parts. Nets of hundreds of layers have some ten thousand.
MODEL_FIELDS = 200_000
# Values of an image that an ONNX model computes in one step; nets here have 12 million at most.
ONNX_VALUES = 100_000_000
# Side of the images of a net.
NET_SIDE = 4_096

# --- archives ----------------------------------------------------------------------------

# Of one member of a tar: long names and other extensions belong to its header.
TAR_HEADER_BYTES = 1_000_000
# Of all members of a tar. CIFAR-10 as 60,000 image files has 31 to 125 MB, by the tar's format.
TAR_HEADERS_BYTES = 200_000_000
# Of a tar, decompressed. CIFAR-10 has 185 MB, as image files 240 MB.
ARCHIVE_BYTES = 2_000_000_000

# --- images ------------------------------------------------------------------------------

# What is decoded takes up to 16 bytes per pixel (transparent images). JPEG files of more pixels, as phones make
# them, are decoded at a half, a quarter or an eighth of their size; progressive ones cannot be
# without their coefficients in memory.
IMAGE_PIXELS = 50_000_000
IMAGE_BYTES = 200_000_000  # of an image file; 50 million pixels without compression have 150 MB
JPEG_PIXELS = 250_000_000
JPEG_SCANS = 100  # each passes over all pixels; encoders write some ten
IMAGE_SIDE = 65_535  # as JPEG's; Pillow takes memory for each row, too

# --- tables and names --------------------------------------------------------------------

LINE_LETTERS = 1_000_000  # of a line of a table
NAME_LETTERS = 150  # of the name of a class, or of a source
TEXT_LETTERS = 200  # of a text in a codes file or a result
CLASSES = 10_000

# Of a shallow method in an index: a thousand anchors of 1,280 features have 10 MB.
HASH_BYTES = 64_000_000

# --- HDF5, Parquet, pickles --------------------------------------------------------------

HDF5_OBJECTS = 1_000  # groups and data sets of a file; models have some 500
# The text of a file is read in a process of its own first; of larger files, attributes alone.
TEXT_FILE_BYTES = 16_000_000
TEXT_SECONDS = 4  # of computing; 16 MB take 0.4
TEXT_MEMORY = 250_000_000
# Arrays may be compressed: as far as deflate can, 1,032 times, up to EXPANDED_BYTES; and 100
# times beyond that.
DEFLATE = 1_032
EXPANSION = 100
EXPANDED_BYTES = 500_000_000
FILL_BYTES = 64_000_000  # of values that a file declares and does not have
# A batch of CIFAR-10 with 10,000 images has some 60,000.
PICKLE_OPCODES = 1_000_000

# --- requests of the search page ---------------------------------------------------------

UPLOAD_BYTES = 20_000_000  # of an image
UPLOADS_BYTES = 200_000_000  # of all images that are not answered yet
UPLOAD_SECONDS = 30  # until all of an image is there
DECODED_AT_ONCE = 2  # images, of up to 800 MB each; others wait
WAIT_SECONDS = 20  # until an image is decoded
REQUEST_SECONDS = 60  # from the first byte of a request until its answer is sent
CONNECTIONS = 200
SHUTDOWN_SECONDS = 3  # that requests have to end
HITS = 500
# Number of a row.
ROWS = 2**53

# --- duplicates --------------------------------------------------------------------------

# Groups that are shown, and images of each on a page.
GROUPS, GROUP_IMAGES = 100, 30


def may_expand_to(stored: int) -> int:
    """The most bytes that so many stored ones may be decompressed to."""
    return max(EXPANSION * stored, min(DEFLATE * stored + FILL_BYTES, EXPANDED_BYTES))
