"""Carry on QuantConnect Lean: the pipeline of the embedded engine on Lean's events. How and why: docs/specs/lean.md."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from AlgorithmImports import Globals, MarginCallModel, OrderEvent, QCAlgorithm, Slice, SubmitOrderRequest, TimeZones

from crypto.errors import CarryError, RefusedError
from crypto.pipeline.stages import CarrySignal, LimitGuard, PairAllocator
from crypto.simulator.hosted import HostedExchange
from crypto.simulator.setup import build
from crypto.units import DAY_MS
from crypto.venues.registry import instrument
from data.lean_folder.custom_series import check_custom_series, custom_series_name
from data.lean_market import load_lean_market
from data.settings import load_settings
from data.tiers import tiers_of
from models.brokerage import CarryBrokerage
from models.convert import milliseconds, moment
from models.custom_data import VenueSeries
from models.feed import BarFeed, starting_cash
from models.legs import LegBook
from models.margin_calls import whole_pairs
from models.orders import OrderDesk
from models.parameters import check_conventions, overrides
from models.statistics import PostTrade

ROOT = Path(__file__).resolve().parent


class CarryAlgorithm(QCAlgorithm):
    """Long spot and short perpetual, or the reverse: data, features, signal, sizing, risk, execution, post-trade."""

    def initialize(self) -> None:
        """Build every component; whatever is wrong with settings, parameters or data is said here."""
        try:
            self._build()
        except CarryError as error:
            raise RuntimeError(f"{error.message}. Remedy: {error.remedy}") from error

    def _build(self) -> None:
        parameters = overrides(self.get_parameters())
        if self.live_mode:
            raise RefusedError("this version only runs backtests", remedy="run it with lean backtest, not lean live")
        self.run_settings = settings = load_settings(ROOT / parameters.config, parameters.settings)
        check_conventions(settings)
        data_folder = Path(Globals.data_folder)
        self.market = market = load_lean_market(data_folder, settings)
        setup = build(settings, market, tiers_of(settings, ROOT))

        self.order_desk = OrderDesk(self)
        self.exchange = HostedExchange(setup, self.order_desk.send)
        instruments = tuple(instrument(key, settings.instruments) for key in setup.names.instruments)
        check_custom_series(data_folder, instruments, parameters.series, settings)
        self.legs = LegBook(self.exchange, instruments)
        self.feed = BarFeed(self.exchange, self.legs, market, settings, self._decide)
        self.order_desk.connect(self.exchange, self.legs, self.feed)
        rules = self.exchange.world.rules[0]
        self.signal_model = CarrySignal(rules)
        self.allocator = PairAllocator(rules)
        self.risk_guard = LimitGuard(rules)
        self.post_trade = PostTrade(self, self.exchange, self.feed.end_ms - self.feed.start_ms)
        self._configure(settings.signal.warmup_hours)
        names = partial(custom_series_name, unit=settings.oracle.unit)
        self.series = VenueSeries(self, self.legs, parameters.series, names) if parameters.series else None

    def _configure(self, warmup_hours: float) -> None:
        """Period, account and models. The warm-up lies inside the run's period, as it does on the embedded engine."""
        settings, feed = self.run_settings, self.feed
        self.set_time_zone(TimeZones.UTC)
        first_day_ms = (feed.start_ms + round(warmup_hours * 3_600_000)) // DAY_MS * DAY_MS
        self.set_start_date(moment(max(first_day_ms, feed.start_ms)))
        self.set_end_date(moment(feed.end_ms - 1))
        cash = starting_cash(self.exchange)
        currency = settings.run.account_currency
        self.set_account_currency(currency, cash.pop(currency, (0.0, 1.0))[0])
        for asset, (amount, price) in cash.items():
            self.set_cash(asset, amount, price)
        self.settings.trading_days_per_year = 365
        self.settings.minimum_order_margin_portfolio_percentage = 0
        self.set_brokerage_model(CarryBrokerage(settings, self.exchange, self.legs, self.order_desk, feed))
        self.portfolio.set_margin_call_model(MarginCallModel.NULL)
        self.set_benchmark(lambda _: 0.0)
        feed.subscribe(self, settings.run.timeframe)
        if first_day_ms > feed.start_ms:
            self.set_warm_up(timedelta(milliseconds=first_day_ms - feed.start_ms))

    def on_data(self, slice: Slice) -> None:  # noqa: A002 - Lean's name for it
        """One bar: what the venue closed is followed first, then the stages of every pair, then the orders."""
        now_ms = milliseconds(self.time)
        if self.series is not None:
            self.series.take(slice)
        if not self.feed.begin(now_ms, slice.bars):
            return
        self.exchange.check(self.market)
        self.order_desk.follow()
        if now_ms < self.feed.end_ms:
            self._decide()
            self.exchange.work()
            self.order_desk.follow()
        self.post_trade.sample(now_ms)

    def _decide(self) -> None:
        """The stages of every pair; their orders wait in the book."""
        self.exchange.begin_turn()
        for pair in range(len(self.exchange.world.pairs)):
            self.exchange.decide(pair, self.signal_model, self.allocator, self.risk_guard)
        self.exchange.rearm_as_planned()

    def on_order_event(self, order_event: OrderEvent) -> None:
        """Fills and refusals go into the ledger at the time they happen, which may be before ``on_data``."""
        self.order_desk.on_event(order_event)

    def on_margin_call(  # type: ignore[override]  # the stub says None, for which a real engine ends the run (C.4)
        self, requests: list[SubmitOrderRequest]
    ) -> list[SubmitOrderRequest]:
        """Only where Lean's own margin calls are switched on again: both legs of a pair shrink together."""
        return whole_pairs(self.legs.legs, requests)

    def on_command(self, data: Any) -> bool | None:
        """``{"kill": true}`` closes everything at the next bar and stays off until ``{"rearm": true}``."""
        if getattr(data, "kill", False):
            self.exchange.kill()
        elif getattr(data, "rearm", False):
            self.exchange.rearm()
        else:
            self.log(f"unknown command {data}: the known ones are kill and rearm")
            return False
        return True

    def on_end_of_algorithm(self) -> None:
        """Hold the ledger against Lean's account once more, then write what the run lived on."""
        self.order_desk.reconcile()
        self.post_trade.finish(self.run_settings.run.name)
