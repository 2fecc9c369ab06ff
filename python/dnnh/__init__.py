"""DNNH on Caffe: deep neural network hashing, from images to measured codes.

Data flows one way, and each module knows only those before it:

    errors, paths                what all of them share
    datasets, download           images and labels, as one HDF5 file a data set
    splits                       queries, training images, database
    triplets, databases          what `caffe train` reads
    nets                         prototxt files
    models, encoder, codes       from a trained net to a codes file
    ranking, metrics             Hamming ranking, measured
    report, plots, traininglog   tables, plots, pages
"""
