update pools set forgotten_fence = max(forgotten_fence, ?1) where name = 'default'
