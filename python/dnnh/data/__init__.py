"""Data sets, from an official archive or a user's images to what the nets read.

======================= =======================================================================
``dataset``             Dataset and the two other forms its images can have
``datasets``            the registry: prepare, save and load ``data/<name>.h5``
``cifar10``, ``digits``, ``mnist``, ``nuswide``, ``svhn``
                        one module a data set: from its official files to a Dataset
``folder``              a user's own images, in class folders or listed in a CSV file
``archives``            folders, tar and zip archives, read alike and within limits
``pickled_arrays``      the pickles of CIFAR-10's Python version, read without trusting them
``download``            official archives, downloaded and verified
``image_files``         image files, decoded within limits
``image_folders``       folders of images: which files count, and what their labels are
``tables``              CSV files of images and labels
``sources``             a user's images one by one, to be encoded: folder, CSV file or LMDB
``datums``              Caffe's Datum, the record of an LMDB
``splits``              queries, training images and database
``triplets``            random triplets from labels
``pseudo_labels``       classes of unlabelled images, by the codes of a trained net
``lmdb_pages``          LMDBs that are checked before they are read
``image_database``      the LMDBs that ``caffe train`` reads
======================= =======================================================================
"""
