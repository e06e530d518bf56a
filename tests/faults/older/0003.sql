-- Left by a Tollway of schema 0003 that was killed in the middle of an answer.
-- api_key tw_NyBOa481m3Ec8e5Rr5ikTmZm78LnvX0M2aNp
-- secret.key NWQ5NGRhZTU3ZTUyOWNlZjkyODExNjkxMzI4OWYzMWFhNGI1M2JiYTYzZjNjZjc2ZjE2ZjIxYWJiMjc2Zjc0YQo=
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	created_at DOUBLE NOT NULL, updated_at DOUBLE DEFAULT 0 NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, low_balance_credits BIGINT DEFAULT 10000 NOT NULL, 
	CONSTRAINT pk_accounts PRIMARY KEY (id), 
	CONSTRAINT uq_accounts_name UNIQUE (name)
);
INSERT INTO "accounts" VALUES('acc_zy6j9h8RRUELpAvW6cAEj','owner',1.79542202009257531166e+09,1.79542202009257531166e+09,NULL,NULL,NULL,10000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	prefix VARCHAR(12) NOT NULL, 
	digest BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	expires_at DOUBLE, 
	last_used_at DOUBLE, 
	deleted_at DOUBLE, kind VARCHAR(16) DEFAULT 'api' NOT NULL, previous_prefix VARCHAR(12), previous_digest BLOB, previous_expires_at DOUBLE, scopes TEXT, models TEXT, spend_limit_credits BIGINT, spend_window VARCHAR(16), requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrency_max BIGINT, updated_at DOUBLE DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_account_id FOREIGN KEY(account_id) REFERENCES accounts (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('key_SrO4JEy7JfEA5Atb9kOWX','acc_zy6j9h8RRUELpAvW6cAEj','first key','tw_rmj6BUTjZ',X'B0007BD9F3DD05E17B52EB63A64DAEE08206FD81E1A2E00C2A56CBAD28CF4ECD',1,1.79542202009385108945e+09,NULL,NULL,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.79542202009385108945e+09);
INSERT INTO "api_keys" VALUES('key_eivoXctCJUxIbFKMO6e5X','acc_zy6j9h8RRUELpAvW6cAEj','older','tw_NyBOa481m',X'297027B3CE6C613B819A2B098D7E47AD7050AADCC945647B2B29AC6E1E2F16B1',1,1.7954220227465341091e+09,NULL,1.79542202441268682481e+09,NULL,'api',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.7954220227465341091e+09);
CREATE TABLE balances (
	account_id VARCHAR(32) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	entries BIGINT NOT NULL, 
	head BLOB NOT NULL, 
	CONSTRAINT pk_balances PRIMARY KEY (account_id), 
	CONSTRAINT ck_balances_ck_balances_held_not_negative CHECK (held >= 0), 
	CONSTRAINT ck_balances_ck_balances_not_overdrawn CHECK (posted >= held), 
	CONSTRAINT fk_balances_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
INSERT INTO "balances" VALUES('acc_zy6j9h8RRUELpAvW6cAEj',9998696,2482,20,X'B5EFECF881D819DE37A6AA89FF0E4F73D6DF822CBD8F57430DE30CBF8D0DAEB0');
CREATE TABLE holds (
	request_id VARCHAR(64) NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	node_id VARCHAR(32) NOT NULL, 
	credits BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	spend_window BIGINT, 
	CONSTRAINT pk_holds PRIMARY KEY (request_id)
);
INSERT INTO "holds" VALUES('WYNfd8xGOhOmKaGCLiOOk','acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','node_SntES7YKcNN2FMTJ',2482,1.79542202554313516616e+09,NULL);
CREATE TABLE idempotency (
	account_id VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash BLOB NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	answer BLOB, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (account_id, "key")
);
CREATE TABLE key_spend (
	key_id VARCHAR(32) NOT NULL, 
	starts_at BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	CONSTRAINT pk_key_spend PRIMARY KEY (key_id, starts_at)
);
CREATE TABLE ledger_entries (
	id INTEGER NOT NULL, 
	account_id VARCHAR(32) NOT NULL, 
	number BIGINT NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	posted BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	key_id VARCHAR(32), 
	model VARCHAR(200), 
	reference VARCHAR(64), 
	price_version VARCHAR(16), 
	note VARCHAR(200), 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_ledger_entries PRIMARY KEY (id), 
	CONSTRAINT uq_ledger_entries_account_id_number UNIQUE (account_id, number), 
	CONSTRAINT uq_ledger_entries_request_id_kind UNIQUE (request_id, kind)
);
INSERT INTO "ledger_entries" VALUES(1,'acc_zy6j9h8RRUELpAvW6cAEj',1,'grant','first_grant_acc_zy6j9h8RRUELpAvW6cAEj',10000000,0,0,1.79542202011977887151e+09,NULL,NULL,'init',NULL,NULL,X'59615162F711B08A0DD734526D0764E3DAC3B3D775C2C388AB42268275BC95EE');
INSERT INTO "ledger_entries" VALUES(2,'acc_zy6j9h8RRUELpAvW6cAEj',2,'hold','J5mIH8LRxTX9HiUmAaxlx',0,2430,0,1.79542202443068337437e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'33F1B35FA19371B38CB9396B54048C8D0FDBEB0ABB5DB1A85D2FE8102D722BF1');
INSERT INTO "ledger_entries" VALUES(3,'acc_zy6j9h8RRUELpAvW6cAEj',3,'settle','J5mIH8LRxTX9HiUmAaxlx',-206,-2430,0,1.79542202449850654601e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','OIqvISOguA9WkLJnlIwi8','0a4d8b9c302928ae',NULL,X'2F3668CDD8A2BA6E72D08C6C1E98E10C397DFAE7315BCF4BC2E4B821ED9C2AC1');
INSERT INTO "ledger_entries" VALUES(4,'acc_zy6j9h8RRUELpAvW6cAEj',4,'hold','4v36daXRP38F69vbnPOaR',0,2428,0,1.79542202451584696765e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'148757B5935990232482DC8C53BBD9F1883C07108CB15138759420E9040E756F');
INSERT INTO "ledger_entries" VALUES(5,'acc_zy6j9h8RRUELpAvW6cAEj',5,'settle','4v36daXRP38F69vbnPOaR',-208,-2428,0,1.79542202459463071822e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','EP43uwQkNTPQYQgnH4y1v','0a4d8b9c302928ae',NULL,X'447CCD4E5950951F4A54F19E13F9807034139A23C9C33BB66FC5E2B03F356BA2');
INSERT INTO "ledger_entries" VALUES(6,'acc_zy6j9h8RRUELpAvW6cAEj',6,'hold','fBE8IkSK3LJJ0oprLANQ4',0,2430,0,1.79542202489885377881e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'EB1F6E925B9D3DFD0D1C4B095106B7B749226DA2E3819B5CED31FEAE91E7C781');
INSERT INTO "ledger_entries" VALUES(7,'acc_zy6j9h8RRUELpAvW6cAEj',7,'settle','fBE8IkSK3LJJ0oprLANQ4',-210,-2430,0,1.79542202490598845482e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','Q7bDY1M6P6FotF5Q7dstF','0a4d8b9c302928ae',NULL,X'E23913C107104A026CA1557F497763578F913C8E4DE1B3023C03F04A958008CC');
INSERT INTO "ledger_entries" VALUES(8,'acc_zy6j9h8RRUELpAvW6cAEj',8,'hold','iN0gldaGcwmHGpHMAtfJG',0,2428,0,1.79542202491028189659e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'52F1CD067B4DB584D83AA03CC9E19940267B869696EFEF92876CF08E197126DA');
INSERT INTO "ledger_entries" VALUES(9,'acc_zy6j9h8RRUELpAvW6cAEj',9,'settle','iN0gldaGcwmHGpHMAtfJG',-212,-2428,0,1.79542202491386675838e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','xdGyyD69uvfPISuuNMhgv','0a4d8b9c302928ae',NULL,X'42DAA90749A34DEC7B49577888753E7CCA290091779B8535B577C6C8EF0495F4');
INSERT INTO "ledger_entries" VALUES(10,'acc_zy6j9h8RRUELpAvW6cAEj',10,'hold','oeWBGYI6fMf41q9TQ9T7M',0,2430,0,1.79542202491684746738e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'F0191B42E09F4EDAAF2C953BCE46F84090E557C6C5D9446428C6F6D25413FB26');
INSERT INTO "ledger_entries" VALUES(11,'acc_zy6j9h8RRUELpAvW6cAEj',11,'settle','oeWBGYI6fMf41q9TQ9T7M',-214,-2430,0,1.79542202491935634612e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','alet8QjoVlFPccVmjpKs7','0a4d8b9c302928ae',NULL,X'AC791D34DEA85B6433687789656F789EB688BDEAF6BAFB75B91B9CF63066D32D');
INSERT INTO "ledger_entries" VALUES(12,'acc_zy6j9h8RRUELpAvW6cAEj',12,'hold','JJR4qYPwOlt1NuVeJ2Pbp',0,2428,0,1.79542202492260432244e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'F3AE1DCEDAADB4F52D051A5BF3C688985D8AC86CB2503E3DC655B9836710A079');
INSERT INTO "ledger_entries" VALUES(13,'acc_zy6j9h8RRUELpAvW6cAEj',13,'settle','JJR4qYPwOlt1NuVeJ2Pbp',-216,-2428,0,1.79542202492714977261e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','5ypaWK65RgKuIYyr6xqgY','0a4d8b9c302928ae',NULL,X'319CAC12B34FAC85825A753B3104C0CEC6307B1507E0A43851EBA39F0BB9D517');
INSERT INTO "ledger_entries" VALUES(14,'acc_zy6j9h8RRUELpAvW6cAEj',14,'hold','wmwakyzEzrWagcGAMe9LC',0,2440,0,1.7954220249304983616e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'744463E2D078FA9744EB57DEE33A9A3E7981D2046C49B1BE16FD54422B7895F3');
INSERT INTO "ledger_entries" VALUES(15,'acc_zy6j9h8RRUELpAvW6cAEj',15,'release','wmwakyzEzrWagcGAMe9LC',0,-2440,0,1.7954220249365816116e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','lgsi8hVDmF1lIuqyjs1Je','0a4d8b9c302928ae',NULL,X'912D6C4309B9083BDF0506013F56EEEE2EBB8C3F7654D78A53E77AF9C3758EDD');
INSERT INTO "ledger_entries" VALUES(16,'acc_zy6j9h8RRUELpAvW6cAEj',16,'hold','fEJj4ISXstcU3SS7j0U2N',0,2470,0,1.79542202494261908529e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'A66BC8E5F920971F5279044F7005EF5B1078829089BF792A0D24FB05F85121DA');
INSERT INTO "ledger_entries" VALUES(17,'acc_zy6j9h8RRUELpAvW6cAEj',17,'release','fEJj4ISXstcU3SS7j0U2N',0,-2470,40,1.79542202496099257465e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','F7ASpyeqZ72gsUXYIN4AV','0a4d8b9c302928ae',NULL,X'1ED9AE865D843890DEA2B061FFF0252FEBC0C07875E0FFBE907ECAF8ED464735');
INSERT INTO "ledger_entries" VALUES(18,'acc_zy6j9h8RRUELpAvW6cAEj',18,'hold','A7yBiKRWA94iYHxIISLD3',0,2968,0,1.79542202496448707578e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'68005E6DE4897C64A77EFE830AA8D941E3575DE51F48966336D5AF56C79DF312');
INSERT INTO "ledger_entries" VALUES(19,'acc_zy6j9h8RRUELpAvW6cAEj',19,'settle','A7yBiKRWA94iYHxIISLD3',-38,-2968,0,1.7954220250260412693e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted','KqCx9vlAmGkimvybIyD8j','0a4d8b9c302928ae',NULL,X'983AD14CDE5FC91997A1E1F78D4DC99D6CE65C4630F4A9515F6188A4762C9154');
INSERT INTO "ledger_entries" VALUES(20,'acc_zy6j9h8RRUELpAvW6cAEj',20,'hold','WYNfd8xGOhOmKaGCLiOOk',0,2482,0,1.79542202554313516616e+09,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',NULL,'0a4d8b9c302928ae',NULL,X'B5EFECF881D819DE37A6AA89FF0E4F73D6DF822CBD8F57430DE30CBF8D0DAEB0');
CREATE TABLE nodes (
	id VARCHAR(32) NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	CONSTRAINT pk_nodes PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node_SntES7YKcNN2FMTJ',1.79542202557286357882e+09);
CREATE TABLE prices (
	version VARCHAR(16) NOT NULL, 
	terms TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_prices PRIMARY KEY (version)
);
INSERT INTO "prices" VALUES('0a4d8b9c302928ae','{"markup_millionths":1000000,"price":{"audio_prompt":"1","cached_prompt":"1","completion":"1","prompt":"1"}}',1.7954220205658423901e+09);
CREATE TABLE rates (
	subject VARCHAR(32) NOT NULL, 
	unit VARCHAR(10) NOT NULL, 
	full_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (subject, unit)
);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	inference_id VARCHAR(64) NOT NULL, 
	client_request_id VARCHAR(128), 
	account_id VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32), 
	origin VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	answered_by VARCHAR(200) NOT NULL, 
	route VARCHAR(200) NOT NULL, 
	attempts INTEGER NOT NULL, 
	stream BOOLEAN NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	finish_reason VARCHAR(20), 
	error_code VARCHAR(64), 
	prompt_tokens BIGINT NOT NULL, 
	cached_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	reasoning_tokens BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	price_version VARCHAR(16) NOT NULL, 
	flags VARCHAR(200), 
	created_at DOUBLE NOT NULL, 
	first_token_ms INTEGER, 
	duration_ms INTEGER NOT NULL, 
	CONSTRAINT pk_requests PRIMARY KEY (id), 
	CONSTRAINT uq_requests_request_id UNIQUE (request_id)
);
INSERT INTO "requests" VALUES(1,'J5mIH8LRxTX9HiUmAaxlx','OIqvISOguA9WkLJnlIwi8',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,3,0,2430,206,0,'0a4d8b9c302928ae',NULL,1.79542202445200777048e+09,37,38);
INSERT INTO "requests" VALUES(2,'4v36daXRP38F69vbnPOaR','EP43uwQkNTPQYQgnH4y1v',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,4,0,2428,208,0,'0a4d8b9c302928ae',NULL,1.79542202452161741253e+09,6,6);
INSERT INTO "requests" VALUES(3,'fBE8IkSK3LJJ0oprLANQ4','Q7bDY1M6P6FotF5Q7dstF',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,5,0,2430,210,0,'0a4d8b9c302928ae',NULL,1.79542202489933848388e+09,6,6);
INSERT INTO "requests" VALUES(4,'iN0gldaGcwmHGpHMAtfJG','xdGyyD69uvfPISuuNMhgv',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,6,0,2428,212,0,'0a4d8b9c302928ae',NULL,1.79542202491071462627e+09,2,2);
INSERT INTO "requests" VALUES(5,'oeWBGYI6fMf41q9TQ9T7M','alet8QjoVlFPccVmjpKs7',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,0,'succeeded','stop',NULL,100,0,7,0,2430,214,0,'0a4d8b9c302928ae',NULL,1.79542202491718506807e+09,1,2);
INSERT INTO "requests" VALUES(6,'JJR4qYPwOlt1NuVeJ2Pbp','5ypaWK65RgKuIYyr6xqgY',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,1,'succeeded','stop',NULL,100,0,8,0,2428,216,0,'0a4d8b9c302928ae',NULL,1.79542202492297172551e+09,2,4);
INSERT INTO "requests" VALUES(7,'wmwakyzEzrWagcGAMe9LC','lgsi8hVDmF1lIuqyjs1Je',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,0,'failed',NULL,'upstream_error',33,0,0,0,2440,0,0,'0a4d8b9c302928ae',NULL,1.79542202493090891838e+09,NULL,5);
INSERT INTO "requests" VALUES(8,'fEJj4ISXstcU3SS7j0U2N','F7ASpyeqZ72gsUXYIN4AV',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,1,'failed',NULL,'upstream_error',17,0,3,0,2470,0,40,'0a4d8b9c302928ae',NULL,1.79542202494303560259e+09,4,17);
INSERT INTO "requests" VALUES(9,'A7yBiKRWA94iYHxIISLD3','KqCx9vlAmGkimvybIyD8j',NULL,'acc_zy6j9h8RRUELpAvW6cAEj','key_eivoXctCJUxIbFKMO6e5X','api','house/scripted','house/scripted','scripted/fake-model',1,1,'cancelled',NULL,NULL,17,0,2,0,2968,38,0,'0a4d8b9c302928ae',NULL,1.79542202496480822557e+09,56,58);
CREATE TABLE usage_buckets (
	account_id VARCHAR(32) NOT NULL, 
	bucket BIGINT NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	charged BIGINT NOT NULL, 
	succeeded BIGINT NOT NULL, 
	failed BIGINT NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	credits BIGINT NOT NULL, 
	loss BIGINT NOT NULL, 
	CONSTRAINT pk_usage_buckets PRIMARY KEY (account_id, bucket, key_id, model)
);
INSERT INTO "usage_buckets" VALUES('acc_zy6j9h8RRUELpAvW6cAEj',1795421700,'key_eivoXctCJUxIbFKMO6e5X','house/scripted',9,7,6,2,667,38,1304,40);
CREATE INDEX ix_api_keys_account_id ON api_keys (account_id);
CREATE INDEX ix_api_keys_prefix ON api_keys (prefix);
CREATE UNIQUE INDEX uq_api_keys_previous_digest ON api_keys (previous_digest);
CREATE UNIQUE INDEX uq_api_keys_account_id_name ON api_keys (account_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_holds_account_id ON holds (account_id);
CREATE INDEX ix_holds_node_id ON holds (node_id);
CREATE INDEX ix_ledger_entries_by_hand ON ledger_entries (account_id, at, number) WHERE kind IN ('grant', 'refund', 'adjustment');
CREATE INDEX ix_ledger_entries_transactions ON ledger_entries (account_id, at, number) WHERE posted <> 0;
CREATE INDEX ix_idempotency_at ON idempotency (at);
CREATE INDEX ix_requests_account_id ON requests (account_id, id);
CREATE INDEX ix_requests_client_request_id ON requests (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX ix_requests_inference_id ON requests (inference_id);
COMMIT;
