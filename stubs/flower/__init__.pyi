# What service/flower uses of Flower 2.2, which ships no types.
