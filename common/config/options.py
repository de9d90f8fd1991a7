"""What options may hold: names, words and bounds. Their meaning stands in configs.yaml."""

AGENTS = ('dreamer', 'planet', 'plan2explore')
SUITES = ('dmc', 'atari', 'memorymaze', 'dmlab', 'gym', 'py', 'toy', 'noisytv', 'dummy')

# Allowed words of the keys that name one thing of a few.
CHOICES = {
    'precision': ('auto', 'float32', 'mixed_float16'),
    'atari_resize': ('area', 'bilinear'),
    'atari_actions': ('minimal', 'full'),
    'jit': ('auto', True, False),
    'act_on': ('auto', 'cpu', 'gpu'),
    'parallel': ('auto', 'none', 'thread', 'process'),
    'env_faults': ('restart', 'stop'),
    'track': ('none', 'wandb', 'mlflow'),
    'clip_rewards': ('none', 'tanh', 'sign'),
    'expl': ('additive_gaussian', 'completely_random', 'epsilon_greedy'),
    'expl_schedule': ('exponential', 'linear'),
    'rssm_act': ('elu', 'relu', 'tanh', 'swish'),
    'dense_act': ('elu', 'relu', 'tanh', 'swish'),
    'cnn_act': ('elu', 'relu', 'tanh', 'swish'),
    'free_nats_mode': ('mean', 'floor', 'element'),
    'obs_loss': ('reconstruction', 'contrastive', 'none'),
    'norm': ('none', 'layer'),
    'rssm_std_act': ('softplus', 'sigmoid', 'sigmoid2'),
    'latent': ('gaussian', 'categorical'),
    'latent_model': ('rssm', 'ssm', 'drnn'),
    'rssm_gru': ('keras', 'block', 'norm'),
    'overshooting_norm': ('all', 'per_distance'),
    'actor_grad': ('auto', 'dynamics', 'reinforce', 'both'),
    'onehot_gradient': ('straight_through', 'score'),
    'head_opt': ('shared', 'own'),
    'expl_behavior': ('plan2explore', 'curiosity', 'icm', 'rnd', 'random', 'greedy'),
    'random_style': ('uniform', 'gaussian', 'authors'),
    'lambda_bootstrap': ('last', 'authors'),
    'intr_reduce': ('var', 'std', 'jrd'),
    'disag_act': ('elu', 'relu', 'tanh', 'swish'),
    'disag_input': ('deter', 'prior_feat', 'feat'),
    'disag_target': ('embed', 'stoch', 'deter', 'feat'),
    'disag_action': ('next', 'past', 'none'),
    'disag_loss': ('mse_mean', 'nll_unit', 'nll_learned'),
    'disag_opt': ('shared', 'own'),
    'curiosity_offset': ('removed', 'authors'),
    'rnd_input': ('obs', 'feat'),
    'action_dist': ('auto', 'tanh_normal', 'trunc_normal', 'tanh_normal_v2', 'onehot'),
}

# Lowest and highest value, None where there is no bound. Whole bounds make a whole-number key,
# so that `steps: 5.0e6` is one although YAML reads a float. Seeds leave room in int32 for those of
# evaluations, which lie above.
RANGES = {
    'seed': (0, 2_000_000_000), 'steps': (1, None), 'eval_every': (1, 2 ** 53),
    'eval_episodes': (0, None), 'log_every': (1, None), 'save_every': (0, None), 'devices': (0, None),
    'disk_wait': (0, None), 'nan_limit': (1, None), 'envs': (1, None), 'collectors': (0, None),
    'env_timeout': (0.01, None), 'action_repeat': (1, None),
    'time_limit': (1, None), 'collect_limit': (0, None),
    'collect_limit_from': (0, None), 'collect_limit_doubles': (0, None), 'camera': (0, None),
    'image_size': (64, 64), 'prefill': (0, None),
    'expl_amount': (0.0, None), 'expl_decay': (0.0, None), 'expl_min': (0.0, None),
    'atari_sticky': (0.0, 1.0), 'atari_noops': (0, None),
    'atari_life_length': (0, None),
    'eval_noise': (0.0, None), 'replay_capacity': (0, None), 'batch_size': (1, None),
    'batch_length': (2, None), 'deter_size': (1, None), 'stoch_size': (1, None),
    'rssm_hidden': (1, None), 'rssm_min_std': (1e-8, None), 'num_units': (1, None),
    'cnn_depth': (1, None), 'mlp_layers': (1, None), 'mlp_units': (1, None),
    'reward_layers': (0, None), 'pcont_layers': (0, None), 'pcont_scale': (0.0, None),
    'kl_scale': (0.0, None), 'free_nats': (0.0, None), 'discount': (0.0, 1.0),
    'disclam': (0.0, 1.0), 'horizon': (2, None), 'actor_ent': (0.0, None),
    'value_layers': (0, None),
    'actor_layers': (0, None), 'action_init_std': (0.0, 50.0), 'actor_min_std': (0.0, None),
    'actor_mean_scale': (1e-8, None), 'pretrain': (0, None), 'train_every': (1, None), 'train_episodes': (0, None),
    'train_steps': (1, None), 'model_lr': (0.0, None), 'value_lr': (0.0, None),
    'actor_lr': (0.0, None), 'adam_eps': (1e-12, None), 'grad_clip': (1e-8, None),
    'weight_decay': (0.0, 1.0), 'image_bits': (0, 8), 'rssm_layers': (1, None),
    'reward_scale': (0.0, None), 'global_div_scale': (0.0, None),
    'stoch_classes': (2, None), 'rssm_ensemble': (1, None), 'kl_balance': (0.0, 1.0),
    'actor_grad_mix': (0.0, 1.0), 'slow_value': (0, None), 'slow_value_fraction': (0.0, 1.0),
    'overshooting_scale': (0.0, None), 'overshooting_distance': (0, None),
    'model_lr_ramp': (0, None), 'planner_horizon': (1, None), 'planner_iterations': (0, None),
    'planner_amount': (1, None), 'planner_topk': (1, None), 'planner_discount': (0.0, 1.0),
    'planner_eval_effort': (1, None), 'head_lr': (0.0, None),
    'expl_until': (0, None), 'expl_horizon': (1, None), 'intr_scale': (0.0, None),
    'extr_scale': (0.0, None), 'intr_ddof': (0, 1), 'intr_norm_momentum': (0.0, 1.0),
    'disag_models': (1, None), 'disag_layers': (0, None), 'disag_units': (0, None),
    'disag_width_factor': (0.0, None),
    'disag_offset': (0, 1), 'disag_lr': (0.0, None), 'curiosity_scale': (0.0, None),
    'curiosity_free_nats': (0.0, None),
}

# Keys of RANGES that also take the text of a schedule (common/config/schedules.py).
SCHEDULED = ('actor_ent', 'actor_grad_mix')

# Keys that take the word auto: always, or for agents and suites for which it is the default.
AUTO = ('expl_until',)
AUTO_BY_DEFAULT = ('action_repeat', 'camera', 'rssm_hidden')

# PlaNet's frames per decision, for its `action_repeat: auto`.
ACTION_REPEATS = {
    'dmc_cartpole_swingup': 8, 'dmc_cartpole_balance': 8, 'dmc_reacher_easy': 4,
    'dmc_cheetah_run': 4, 'dmc_finger_spin': 2, 'dmc_cup_catch': 4,
    'dmc_ball_in_cup_catch': 4, 'dmc_walker_walk': 2}
OTHER_REPEAT = 2

# Keys that stand in `defaults` because two agents share them, but mean nothing to a third.
UNUSED = {'planet': (
    'horizon', 'discount', 'disclam', 'use_value', 'value_layers', 'value_lr',
    'actor_ent', 'actor_layers', 'actor_lr', 'actor_min_std', 'actor_mean_scale',
    'imag_start', 'actor_grad', 'actor_grad_mix', 'aligned_baseline', 'slow_value',
    'slow_value_fraction', 'action_dist', 'onehot_gradient', 'action_init_std', 'pcont', 'pcont_layers',
    'pcont_scale', 'head_opt', 'head_lr')}

# Keys that hold a regular expression, and words that are free here (the task is checked by
# the environments).
PATTERNS = ('cnn_keys', 'mlp_keys', 'grad_heads', 'adapt_heads', 'weight_decay_pattern')
FREE = ('task', 'tasks', 'logdir', 'ray', 'offline', 'source', 'zero_shot_tasks')

# Paths, and keys without which there is no configuration.
PATHS = ('logdir', 'offline', 'source')
NEEDED = ('task', 'logdir', 'seed', 'steps', 'action_repeat')

# What may differ when a run is continued: how long, how often, how fast. All other keys shape the
# weights or the data.
FREE_TO_CHANGE = (
    'configs', 'logdir', 'steps', 'eval_every', 'eval_episodes', 'log_every', 'save_every',
    'precision', 'jit', 'devices', 'machines', 'act_on', 'parallel', 'ray', 'env_faults', 'env_timeout',
    'nan_limit', 'disk_wait', 'replay_capacity', 'prune_disk', 'deterministic', 'quiet',
    'track')
