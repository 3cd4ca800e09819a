"""Decides what is trained: configuration, search, samplers, schedulers, record, reports"""
