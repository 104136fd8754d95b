"""Metrics of predictions: float64 NumPy, apart from models and devices.

Everything is a function of small sums (a confusion matrix, six moments) that
add over examples, speakers and folds; intervals resample those sums.
"""
