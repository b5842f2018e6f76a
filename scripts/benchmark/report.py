def write(data, check): pass
